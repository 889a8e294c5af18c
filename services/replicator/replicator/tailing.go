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

// pump hands entries over until the reading fails. What a log has lost ends the run:
// a new one reads again what the watermark would wait for in vain.
func (t *tailing) pump(b *broker.Broker, stream, subject string, from uint64, out chan<- broker.Entry) error {
	log, err := b.Follow(t.ctx, stream, subject, from, broker.LogOptions{})
	if err != nil {
		return lostLog(subject, err)
	}
	defer log.Close() //nolint:errcheck // it was read only
	for {
		e, err := log.Next(t.ctx)
		if err != nil {
			return lostLog(subject, err)
		}
		select {
		case out <- e:
		case <-t.ctx.Done():
			return nil
		}
	}
}

func lostLog(subject string, err error) error {
	if errors.Is(err, broker.ErrGap) || errors.Is(err, broker.ErrClaimLost) {
		return &crash{lost: true, reason: fmt.Sprintf("the log %s has lost entries: %v", subject, err)}
	}
	return fmt.Errorf("follow %s: %w", subject, err)
}

func (t *tailing) stop() {
	t.cancel()
	t.group.Wait()
}
