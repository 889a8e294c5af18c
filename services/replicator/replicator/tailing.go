package replicator

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"millrace/pkg/broker"
)

// tailing reads several logs at once and hands their entries over in order.
type tailing struct {
	ctx    context.Context
	cancel context.CancelFunc
	group  sync.WaitGroup
	failed chan error
}

func newTailing(ctx context.Context) *tailing {
	ctx, cancel := context.WithCancel(ctx)
	return &tailing{ctx: ctx, cancel: cancel, failed: make(chan error, 1)}
}

// follow reads one subject of a log from a stream sequence on.
func (t *tailing) follow(b *broker.Broker, stream, subject string, from uint64) <-chan broker.Entry {
	out := make(chan broker.Entry, 64)
	t.group.Go(func() {
		if err := t.pump(b, stream, subject, from, out); err != nil && t.ctx.Err() == nil {
			select {
			case t.failed <- err:
			default: // one failure ends the run
			}
		}
	})
	return out
}

func (t *tailing) pump(b *broker.Broker, stream, subject string, from uint64, out chan<- broker.Entry) error {
	log, err := b.Follow(t.ctx, stream, subject, from, broker.LogOptions{})
	if err != nil {
		return fmt.Errorf("follow %s: %w", subject, err)
	}
	defer log.Close()
	for {
		e, err := log.Next(t.ctx)
		if errors.Is(err, broker.ErrGap) {
			// What was trimmed is a hole that the watermark does not pass; the run
			// notices that it gets no further.
			continue
		}
		if err != nil {
			return fmt.Errorf("follow %s: %w", subject, err)
		}
		select {
		case out <- e:
		case <-t.ctx.Done():
			return nil
		}
	}
}

func (t *tailing) stop() {
	t.cancel()
	t.group.Wait()
}
