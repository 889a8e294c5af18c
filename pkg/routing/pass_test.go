package routing

import (
	"errors"
	"slices"
	"testing"
	"time"

	"millrace/pkg/mango"
)

func TestAJobThatFailsIsLeftOutOfTheRest(t *testing.T) {
	var x Index[int]
	x.Add(1, parse(t, `{"a..b":1}`))
	x.Add(2, parse(t, `{"a":1}`))
	x.Add(3, nil)
	p := x.Pass(time.Hour)
	first := p.Match(decode(t, `{"a":1}`), nil)
	var failed *mango.EvaluationError
	for _, h := range first {
		if (h.Job == 1) != errors.As(h.Err, &failed) {
			t.Errorf("job %d: %v", h.Job, h.Err)
		}
	}
	if again := matched(p.Match(decode(t, `{"a":1}`), nil)); len(first) != 3 || !slices.Equal(again, []string{name(2, nil), name(3, nil)}) {
		t.Errorf("first %v, then %v", first, again)
	}
	if next := matched(x.Pass(time.Hour).Match(decode(t, `{"a":1}`), nil)); len(next) != 3 {
		t.Errorf("the next pass begins with %v", next)
	}
}

func TestAJobThatTakesTooLongIsLeftOut(t *testing.T) {
	var x Index[int]
	x.Add(1, parse(t, `{"a":{"$regex":"^b"}}`))
	x.Add(2, parse(t, `{"a":{"$gt":"a"}}`))
	p := x.Pass(25 * time.Millisecond)
	now := time.Unix(0, 0)
	p.now = func() time.Time { now = now.Add(10 * time.Millisecond); return now }
	var got [][]string
	for range 4 {
		got = append(got, matched(p.Match(decode(t, `{"a":"bc"}`), nil)))
	}
	both := []string{name(1, nil), name(2, nil)}
	want := [][]string{both, both, {name(1, ErrTooSlow), name(2, nil)}, {name(2, nil)}}
	for i := range want {
		slices.Sort(want[i])
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("document %d: %v, want %v", i, got[i], want[i])
		}
	}
}

func TestASkippedJobIsNotAsked(t *testing.T) {
	var x Index[int]
	x.Add(1, parse(t, `{"a":{"$regex":"b"}}`))
	x.Add(2, parse(t, `{"a":"b"}`))
	p := x.Pass(time.Hour)
	p.Skip(1)
	if got := matched(p.Match(decode(t, `{"a":"b"}`), nil)); !slices.Equal(got, []string{name(2, nil)}) {
		t.Errorf("matched %v", got)
	}
}
