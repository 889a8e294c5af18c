package stage_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/broker/brokertest"
	"millrace/pkg/couch"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// worker is a stage with one handler.
type worker struct {
	t       *testing.T
	broker  *broker.Broker
	subject string
	stop    func()
}

func newStage(t *testing.T, b *broker.Broker) *stage.Stage {
	t.Helper()
	s, err := stage.New(stage.Options{Name: "test", Site: "here", Broker: b, Log: slog.New(slog.DiscardHandler), PerJob: 4})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func work(t *testing.T, handle func(context.Context, *millracev1.SelectedBatch) error) *worker {
	t.Helper()
	w := &worker{t: t, broker: brokertest.Start(t)}
	w.subject = w.broker.Subjects().Selected("here", "job")
	s := newStage(t, w.broker)
	err := stage.Consume(s, stage.Input{
		Stream: w.broker.Streams().Selected, Filter: w.broker.Subjects().Selected("here", broker.Any), Durable: "test-here", InFlight: 4,
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
	w.stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	t.Cleanup(w.stop)
	return w
}

func (w *worker) send(ordinal uint64, header nats.Header) {
	w.t.Helper()
	payload, err := proto.Marshal(&millracev1.SelectedBatch{Position: &millracev1.Position{Job: "job", Run: 1, Ordinal: ordinal}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.raw(payload, header)
}

func (w *worker) raw(payload []byte, header nats.Header) {
	w.t.Helper()
	if _, err := w.broker.JetStream().PublishMsg(w.t.Context(), &nats.Msg{Subject: w.subject, Data: payload, Header: header}); err != nil {
		w.t.Fatal(err)
	}
}

func version(v string) nats.Header { return nats.Header{"Millrace-Version": {v}} }

// left is how many messages nobody is done with.
func (w *worker) left() uint64 {
	w.t.Helper()
	s, err := w.broker.JetStream().Stream(w.t.Context(), w.broker.Streams().Selected)
	if err != nil {
		w.t.Fatal(err)
	}
	return s.CachedInfo().State.Msgs
}

func (w *worker) awaitLeft(n uint64) {
	w.t.Helper()
	await(w.t, fmt.Sprintf("%d messages to be left", n), func() bool { return w.left() == n })
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !is() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestMessageOfARunThatIsOverIsDropped(t *testing.T) {
	w := work(t, func(_ context.Context, b *millracev1.SelectedBatch) error {
		return fmt.Errorf("run %d: %w", b.Position.Run, stage.ErrOver)
	})
	w.send(1, version("1"))
	w.awaitLeft(0)
}

func TestMessageWhoseHandlerFailedComesBack(t *testing.T) {
	failures := make(chan error, 2)
	failures <- errors.New("the run is not known yet")
	failures <- errors.New("the broker is away")
	w := work(t, func(context.Context, *millracev1.SelectedBatch) error {
		select {
		case err := <-failures:
			return err
		default:
			return nil
		}
	})
	w.send(1, version("1"))
	w.awaitLeft(0)
	if len(failures) != 0 {
		t.Errorf("%d failures were not met", len(failures))
	}
}

func TestPanickingHandlerGetsTheMessageAgain(t *testing.T) {
	var once sync.Once
	w := work(t, func(context.Context, *millracev1.SelectedBatch) error {
		once.Do(func() { panic("at the first delivery") })
		return nil
	})
	w.send(1, version("1"))
	w.awaitLeft(0)
}

// During a rolling upgrade a new instance publishes what the old ones do not know.
func TestMessageOfAnUnknownVersionWaitsForAnInstanceThatKnowsIt(t *testing.T) {
	handled := make(chan uint64, 10)
	w := work(t, func(_ context.Context, b *millracev1.SelectedBatch) error {
		handled <- b.Position.Ordinal
		return nil
	})
	w.send(1, version("2"))
	w.send(2, version("1"))
	w.send(3, nil)
	w.awaitLeft(2)
	if got := <-handled; got != 2 || len(handled) != 0 {
		t.Errorf("handled %d, and %d more", got, len(handled))
	}
	w.stop()
	// The instance of the new version takes over the consumer.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := w.broker.JetStream().Consumer(ctx, w.broker.Streams().Selected, broker.DefaultNamespace+"_test-here")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		m, err := c.Next(jetstream.FetchContext(ctx))
		if err != nil {
			t.Fatalf("a message was dropped: %v", err)
		}
		if err := m.DoubleAck(ctx); err != nil {
			t.Fatal(err)
		}
	}
	w.awaitLeft(0)
}

func TestMessageThatDoesNotDecodeIsKeptAsEvidence(t *testing.T) {
	handled := make(chan uint64, 10)
	w := work(t, func(_ context.Context, b *millracev1.SelectedBatch) error {
		handled <- b.Position.Ordinal
		return nil
	})
	w.raw([]byte("\xff\xff\xff"), version("1"))
	w.send(2, version("1"))
	if got := <-handled; got != 2 {
		t.Errorf("handled %d", got)
	}
	w.awaitLeft(1)
}

func TestUnknownFieldsOfAKnownVersionAreNoObstacle(t *testing.T) {
	handled := make(chan uint64, 1)
	w := work(t, func(_ context.Context, b *millracev1.SelectedBatch) error {
		handled <- b.Position.Ordinal
		return nil
	})
	payload, err := proto.Marshal(&millracev1.SelectedBatch{Position: &millracev1.Position{Job: "job", Ordinal: 5}})
	if err != nil {
		t.Fatal(err)
	}
	w.raw(append(payload, 0xa2, 0x3e, 3, 'n', 'e', 'w'), version("1")) // field 996, a string
	if got := <-handled; got != 5 {
		t.Errorf("handled %d", got)
	}
}

func TestIdsTellOwnersOfAFeedApart(t *testing.T) {
	at := func(epoch uint64) *millracev1.Position {
		return &millracev1.Position{Job: "j", Run: 1, Feed: "f", Epoch: epoch, Ordinal: 17}
	}
	if stage.BatchID(at(1)) == stage.BatchID(at(2)) {
		t.Error("batch 17 of two owners has one id: the broker would drop the second")
	}
	part := func(attempt string, n uint32) string {
		return stage.PartID(at(1), &millracev1.Part{Attempt: attempt, Number: n})
	}
	if part("a", 1) == part("b", 1) || part("a", 1) == part("a", 2) {
		t.Error("two parts have one id")
	}
}

func TestTryDoesNotWaitForAFullSubject(t *testing.T) {
	b := brokertest.Start(t)
	s := newStage(t, b)
	defer s.Publisher().Close() //nolint:errcheck // nothing is on its way
	full, free := b.Subjects().Selected("here", "full"), b.Subjects().Selected("here", "free")
	for i := range b.Limits().PerSubject {
		if err := s.Try(t.Context(), full, fmt.Sprint(i), &millracev1.SelectedBatch{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Try(t.Context(), full, "more", &millracev1.SelectedBatch{}); !errors.Is(err, broker.ErrSubjectFull) {
		t.Errorf("got %v", err)
	}
	if err := s.Try(t.Context(), free, "other", &millracev1.SelectedBatch{}); err != nil {
		t.Errorf("another job's subject: %v", err)
	}
}

func TestFailureIsReportedWithItsClass(t *testing.T) {
	b := brokertest.Start(t)
	s := newStage(t, b)
	defer s.Publisher().Close() //nolint:errcheck // nothing is on its way
	pos := &millracev1.Position{Job: "j", Run: 3}
	for _, c := range []struct {
		err  error
		want millracev1.Event_Class
	}{
		{errors.New("connection refused"), millracev1.Event_CLASS_TRANSIENT},
		{&couch.HTTPError{Status: 503}, millracev1.Event_CLASS_TRANSIENT},
		{&couch.HTTPError{Status: 401}, millracev1.Event_CLASS_PERMANENT},
		{fmt.Errorf("%w: trimmed", stage.ErrFeedLost), millracev1.Event_CLASS_FEED_LOST},
		{&couch.ThrottledError{Last: &couch.HTTPError{Status: 429}}, millracev1.Event_CLASS_TRANSIENT},
	} {
		if err := s.Fail(t.Context(), pos, c.err); !errors.Is(err, c.err) {
			t.Errorf("%v became %v", c.err, err)
		}
		last, err := b.Last(t.Context(), b.Streams().Events, b.Subjects().Events("j"))
		if err != nil {
			t.Fatal(err)
		}
		e := &millracev1.Event{}
		if err := proto.Unmarshal(last.Data, e); err != nil {
			t.Fatal(err)
		}
		if e.Class != c.want || e.Position.Run != 3 || e.Stage != "test" || !strings.Contains(e.Reason, c.err.Error()) {
			t.Errorf("%v was reported as %v", c.err, e)
		}
	}
}

func TestWhatIsOverIsNotReported(t *testing.T) {
	b := brokertest.Start(t)
	s := newStage(t, b)
	defer s.Publisher().Close() //nolint:errcheck // nothing is on its way
	pos := &millracev1.Position{Job: "j"}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_ = s.Fail(t.Context(), pos, fmt.Errorf("%w", stage.ErrOver))
	_ = s.Fail(ended, pos, errors.New("cut by the shutdown"))
	_ = s.Fail(t.Context(), pos, nil)
	if _, err := b.Last(t.Context(), b.Streams().Events, b.Subjects().Events("j")); !errors.Is(err, broker.ErrGone) {
		t.Errorf("reported all the same: %v", err)
	}
}

// Of a job that says how many of its batches are worked on at once no more are, and of
// another one as many as the stage is told (worker_processes).
func TestJobsHaveWorkersOfTheirOwn(t *testing.T) {
	b := brokertest.Start(t)
	s := newStage(t, b) // four of any job
	const batches = 8
	type count struct{ now, most int }
	var mu sync.Mutex
	counts := map[string]*count{"one": {}, "two": {}, "silent": {}}
	enough := map[string]int{"one": 1, "two": 2, "silent": 4}
	full := make(chan struct{})
	handle := func(ctx context.Context, m *millracev1.SelectedBatch) error {
		mu.Lock()
		c := counts[m.Position.Job]
		c.now++
		c.most = max(c.most, c.now)
		reached := true
		for job, n := range enough {
			reached = reached && counts[job].most >= n
		}
		if reached {
			select {
			case <-full:
			default:
				close(full)
			}
		}
		mu.Unlock()
		select { // until all are as busy as they may be
		case <-full:
		case <-ctx.Done():
		}
		mu.Lock()
		c.now--
		mu.Unlock()
		return nil
	}
	err := stage.Consume(s, stage.Input{
		Stream: b.Streams().Selected, Filter: b.Subjects().Selected("here", broker.Any), Durable: "test-here", InFlight: 16,
		Workers: func(job string) int { return map[string]int{"one": 1, "two": 2}[job] },
	}, handle)
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, broker: b}
	for job := range counts {
		for i := range batches {
			w.subject = b.Subjects().Selected("here", job)
			payload, err := proto.Marshal(&millracev1.SelectedBatch{Position: &millracev1.Position{Job: job, Run: 1, Ordinal: uint64(i)}})
			if err != nil {
				t.Fatal(err)
			}
			w.raw(payload, version("1"))
		}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	w.awaitLeft(0)
	cancel()
	group.Wait()
	for job, c := range counts {
		if c.most != enough[job] {
			t.Errorf("%s: %d batches at once, want %d", job, c.most, enough[job])
		}
	}
}
