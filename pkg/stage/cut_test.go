package stage_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"millrace/pkg/broker"
	"millrace/pkg/broker/brokertest"
	"millrace/pkg/couch"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// A run that ended with every connection that is cut would pause for half a minute
// each time.
func TestCutAnswersAreMetAgainBeforeTheyEndARun(t *testing.T) {
	b := brokertest.Start(t)
	s := newStage(t, b)
	var mu sync.Mutex
	failures, reported := 0, 0 // failures until the first event
	handle := func(ctx context.Context, m *millracev1.SelectedBatch) error {
		mu.Lock()
		defer mu.Unlock()
		err := s.Fail(ctx, m.Position, &couch.CutError{Method: "POST", URL: "http://source/_bulk_get", Err: io.ErrUnexpectedEOF})
		failures++
		_, lerr := b.Last(ctx, b.Streams().Events, b.Subjects().Events("job"))
		switch {
		case errors.Is(lerr, broker.ErrGone):
			return err
		case lerr != nil:
			t.Error(lerr)
		}
		reported = failures
		return nil
	}
	w := &worker{t: t, broker: b, subject: b.Subjects().Selected("here", "job")}
	err := stage.Consume(s, stage.Input{
		Stream: b.Streams().Selected, Filter: b.Subjects().Selected("here", broker.Any), Durable: "test-here", InFlight: 1,
	}, handle)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	w.send(1, nats.Header{"Millrace-Version": {"1"}})
	w.awaitLeft(0)
	cancel()
	group.Wait()
	if reported < 2 {
		t.Errorf("the run was ended by cut answer %d", reported)
	}
}

// Whoever reads without a message in hand (the reader of a feed) decides by itself.
func TestCutAnswerOutsideOfAHandlerIsReported(t *testing.T) {
	b := brokertest.Start(t)
	s := newStage(t, b)
	defer s.Publisher().Close() //nolint:errcheck // nothing is on its way
	_ = s.Fail(t.Context(), &millracev1.Position{Job: "j"}, &couch.CutError{Err: io.ErrUnexpectedEOF})
	if _, err := b.Last(t.Context(), b.Streams().Events, b.Subjects().Events("j")); err != nil {
		t.Error(err)
	}
}
