package content

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// office is a ledger with a clock, and whoever purges what is doomed.
type office struct {
	ledger
}

func newOffice(capacity int64) *office {
	return &office{ledger{&millracev1.ContentLedger{}, capacity, time.Unix(1e9, 0)}}
}

// claim reserves, and has what is doomed purged as [Store.Reserve] does.
func (o *office) claim(c Claim, wanted []Wanted) error {
	for {
		err := o.reserve(c, wanted)
		if !errors.Is(err, errDoomed) {
			return err
		}
		for _, id := range o.doomed() {
			o.remove(id)
		}
	}
}

// sound says what is wrong with the ledger.
func (o *office) sound() error {
	if o.used() > o.capacity {
		return fmt.Errorf("%d bytes are used of %d", o.used(), o.capacity)
	}
	var pins []string
	for _, p := range o.Pins {
		pins = append(pins, p.Id)
	}
	for _, e := range o.Contents {
		for _, p := range e.Pins {
			if e.Doomed || !slices.Contains(pins, p) {
				return fmt.Errorf("%v is needed by %s of %q", e, p, pins)
			}
		}
	}
	return nil
}

// Any parts of any jobs, that want any contents: the room is never exceeded, what a part needs
// stays while it needs it, and if those that have their room come to their end, so do all.
func TestAllPartsGetTheirRoomAndNoneMoreThanThereIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const capacity = 100
		o := newOffice(capacity)
		type part struct {
			Claim
			wanted []Wanted
		}
		lengths := rapid.SliceOfN(rapid.Int64Range(0, 60), 1, 12).Draw(t, "lengths")
		var waiting, running []part
		for i := range rapid.IntRange(1, 25).Draw(t, "parts") {
			p := part{Claim: Claim{Part: fmt.Sprintf("p%d", i), Job: fmt.Sprintf("j%d", rapid.IntRange(0, 3).Draw(t, "job")), Run: 1}}
			for _, c := range rapid.SliceOfN(rapid.IntRange(0, len(lengths)-1), 1, 3).Draw(t, "contents") {
				p.wanted = append(p.wanted, Wanted{fmt.Sprintf("c%d", c), lengths[c]})
			}
			waiting = append(waiting, p)
		}
		rejected := 0
		for step := 0; len(waiting)+len(running) > 0; step++ {
			if step > 5000 {
				t.Fatalf("%d wait and %d run: %v", len(waiting), len(running), o.ContentLedger)
			}
			o.now = o.now.Add(time.Second / 4)
			if len(running) > 0 && (len(waiting) == 0 || rapid.Bool().Draw(t, "finish")) {
				i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
				o.release(running[i].Part)
				running = slices.Delete(running, i, i+1)
				continue
			}
			i := rapid.IntRange(0, len(waiting)-1).Draw(t, "who")
			p := waiting[i]
			switch err := o.claim(p.Claim, p.wanted); {
			case err == nil:
				running, waiting = append(running, p), slices.Delete(waiting, i, i+1)
				for _, w := range p.wanted {
					if e := o.find(w.ID); e == nil || !slices.Contains(e.Pins, p.Part) {
						t.Fatalf("%s has no room for %s", p.Part, w.ID)
					}
				}
			case errors.Is(err, ErrTooLarge):
				rejected++
				waiting = slices.Delete(waiting, i, i+1)
			case !errors.Is(err, ErrNoRoom):
				t.Fatal(err)
			}
			if err := o.sound(); err != nil {
				t.Fatal(err)
			}
		}
		if len(o.Waiting) > 0 {
			t.Fatalf("still in the queue: %v", o.Waiting)
		}
	})
}

func claimOf(part, job string) Claim { return Claim{Part: part, Job: job, Run: 1} }

func expect(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v", what, got)
	}
}

func TestLargeContentDoesNotWaitForEverBehindSmallOnes(t *testing.T) {
	o := newOffice(100)
	expect(t, "first", o.claim(claimOf("small1", "a"), []Wanted{{"s1", 30}}), nil)
	expect(t, "large", o.claim(claimOf("large", "b"), []Wanted{{"l", 90}}), ErrNoRoom)
	expect(t, "small behind it", o.claim(claimOf("small2", "a"), []Wanted{{"s2", 30}}), ErrNoRoom)
	o.release("small1")
	expect(t, "small before the large one", o.claim(claimOf("small2", "a"), []Wanted{{"s2", 30}}), ErrNoRoom)
	expect(t, "large in its turn", o.claim(claimOf("large", "b"), []Wanted{{"l", 90}}), nil)
}

func TestWhoeverDiedWhileHeWaitedDoesNotHoldUpTheOthers(t *testing.T) {
	o := newOffice(100)
	expect(t, "first", o.claim(claimOf("p1", "a"), []Wanted{{"c1", 30}}), nil)
	expect(t, "who dies", o.claim(claimOf("p2", "b"), []Wanted{{"c2", 90}}), ErrNoRoom)
	expect(t, "while he may live", o.claim(claimOf("p3", "c"), []Wanted{{"c3", 30}}), ErrNoRoom)
	o.now = o.now.Add(demandTime + time.Second)
	expect(t, "after", o.claim(claimOf("p3", "c"), []Wanted{{"c3", 30}}), nil)
}

func TestJobWithHalfOfTheRoomWaitsForOthersThatWait(t *testing.T) {
	o := newOffice(100)
	expect(t, "alone", o.claim(claimOf("a1", "a"), []Wanted{{"c1", 40}}), nil)
	expect(t, "alone, more than half", o.claim(claimOf("a2", "a"), []Wanted{{"c2", 40}}), nil)
	expect(t, "another job", o.claim(claimOf("b1", "b"), []Wanted{{"c3", 30}}), ErrNoRoom)
	o.release("a2")
	expect(t, "again while the other waits", o.claim(claimOf("a3", "a"), []Wanted{{"c4", 20}}), ErrNoRoom)
	expect(t, "the other", o.claim(claimOf("b1", "b"), []Wanted{{"c3", 30}}), nil)
	expect(t, "what is there costs nothing", o.claim(claimOf("a4", "a"), []Wanted{{"c1", 40}}), nil)
}

func TestWhatNobodyNeedsStaysUntilItsRoomIsNeeded(t *testing.T) {
	o := newOffice(100)
	for i, id := range []string{"c1", "c2"} {
		o.now = o.now.Add(time.Second)
		c := claimOf(fmt.Sprint("p", i), "a")
		expect(t, id, o.claim(c, []Wanted{{id, 40}}), nil)
		o.release(c.Part)
	}
	expect(t, "small", o.claim(claimOf("p3", "a"), []Wanted{{"c3", 20}}), nil)
	if o.find("c1") == nil || o.find("c2") == nil {
		t.Fatal("removed without need")
	}
	expect(t, "more", o.claim(claimOf("p4", "a"), []Wanted{{"c4", 30}}), nil)
	if o.find("c1") != nil || o.find("c2") == nil {
		t.Errorf("not the oldest went: %v", o.Contents)
	}
}

func TestContentHasOneHolderUntilHeIsNotHeardOf(t *testing.T) {
	o := newOffice(100)
	expect(t, "room", o.claim(claimOf("p", "a"), []Wanted{{"c", 40}}), nil)
	hold := func(who string) error {
		_, err := o.hold("c", who, o.now.Add(10*time.Second))
		return err
	}
	expect(t, "first", hold("x"), nil)
	expect(t, "second", hold("y"), errBusy)
	o.now = o.now.Add(9 * time.Second)
	expect(t, "first, again", hold("x"), nil)
	o.now = o.now.Add(9 * time.Second)
	expect(t, "prolonged", hold("y"), errBusy)
	o.now = o.now.Add(2 * time.Second)
	expect(t, "run out", hold("y"), nil)
	o.settle("c", "x", true)
	if o.find("c").Complete {
		t.Error("whoever had lost it has completed it")
	}
	o.settle("c", "y", true)
	if done, err := o.hold("c", "z", o.now); !done || err != nil {
		t.Errorf("completed: %v, %v", done, err)
	}
	expect(t, "without room", func() error { _, err := o.hold("other", "x", o.now); return err }(), ErrNoRoom)
}

func TestContentsOfTwoSourcesOrEncodingsAreTwo(t *testing.T) {
	ids := []string{
		ID("e1", "md5-x", "", 5), ID("e2", "md5-x", "", 5), ID("e1", "md5-y", "", 5), ID("e1", "md5-x", "gzip", 5), ID("e1", "md5-x", "", 6),
		ID("e1", "", "", 5, "doc", "1-a", "name"), ID("e1", "", "", 5, "doc", "1-b", "name"), ID("e1m", "d5-x", "", 5),
	}
	for i, id := range ids {
		if slices.Index(ids, id) != i {
			t.Errorf("%d is the same as %d", i, slices.Index(ids, id))
		}
	}
	if ID("e1", "md5-x", "", 5, "doc", "1-a") != ID("e1", "md5-x", "", 5, "other", "2-b") {
		t.Error("the same content of two documents is two")
	}
}
