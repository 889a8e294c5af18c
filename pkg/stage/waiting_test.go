package stage_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"millrace/pkg/broker"
	"millrace/pkg/broker/brokertest"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// Put back, a batch finds its place taken by newer ones for as long as its feed is busy.
func TestMessagesThatMayWaitAreNotPutBackBehindNewerOnes(t *testing.T) {
	const messages = 60
	b := brokertest.Start(t)
	s := newStage(t, b)
	subject := b.Subjects().Changes("feed")
	for i := range messages {
		err := s.Publish(t.Context(), subject, stage.BatchID(&millracev1.Position{Feed: "feed", Ordinal: uint64(i)}),
			&millracev1.ChangesBatch{Feed: "feed", Ordinal: uint64(i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	release, all := make(chan struct{}), make(chan struct{})
	var handled atomic.Int64
	err := stage.Consume(s, stage.Input{
		Stream: b.Streams().Changes, Filter: b.Subjects().Changes(broker.Any), Durable: "test",
		InFlight: 4, InOrder: true, Waiting: messages,
	}, func(ctx context.Context, _ *millracev1.ChangesBatch) error {
		select {
		case <-release:
		case <-ctx.Done():
			return ctx.Err()
		}
		if handled.Add(1) == messages {
			close(all)
		}
		return nil
	})
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
	// All are pulled while the first is handled: whatever has no room goes back now.
	await(t, "everything to be delivered", func() bool { return delivered(t, b) >= messages })
	close(release)
	<-all
	cancel()
	group.Wait()
	if n := delivered(t, b); n != messages {
		t.Errorf("%d messages took %d deliveries", messages, n)
	}
}

func delivered(t *testing.T, b *broker.Broker) uint64 {
	t.Helper()
	c, err := b.JetStream().Consumer(t.Context(), b.Streams().Changes, "millrace_test")
	if err != nil {
		return 0 // not made yet
	}
	return c.CachedInfo().Delivered.Consumer
}
