package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// WaitLease is AcquireLease for whoever stands by: it waits until the lease is
// free. The error is ctx's.
func (b *Broker) WaitLease(ctx context.Context, name, holder string, ttl time.Duration) (*Lease, error) {
	watcher, err := b.watchLease(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("wait for lease %s: %w", name, err)
	}
	defer func() { _ = watcher.Stop() }() // the connection may be closed by now
	// Watching is what makes a takeover quick; asking now and then is what makes
	// it certain, should the message about the end not arrive.
	ticker := time.NewTicker(max(ttl, minLeaseTTL))
	defer ticker.Stop()
	for {
		l, err := b.AcquireLease(ctx, name, holder, ttl)
		if err == nil || !errors.Is(err, ErrHeld) {
			return l, err
		}
		if err := awaitEnd(ctx, watcher, ticker.C); err != nil {
			return nil, fmt.Errorf("wait for lease %s: %w", name, err)
		}
	}
}

func (b *Broker) watchLease(ctx context.Context, name string) (jetstream.KeyWatcher, error) {
	var watcher jetstream.KeyWatcher
	err := b.insist(ctx, func(attempt context.Context) error {
		kv, err := b.js.KeyValue(attempt, b.Buckets().Leases)
		if err != nil {
			return err
		}
		watcher, err = kv.Watch(ctx, Token(name)) // lives as long as the waiting
		return err
	})
	return watcher, err
}

// awaitEnd waits for a sign that the lease may be free.
func awaitEnd(ctx context.Context, watcher jetstream.KeyWatcher, tick <-chan time.Time) error {
	updates := watcher.Updates()
	for {
		select {
		case update, ok := <-updates:
			if !ok {
				updates = nil // the watch is broken: go by the clock
				continue
			}
			if update != nil && update.Operation() != jetstream.KeyValuePut {
				return nil
			}
		case <-tick:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// CheckLease says whether the acquisition with this revision still holds the
// lease: nil, or [ErrLeaseLost]. It is for services that write on behalf of a
// lease's holder to something that knows no fences, immediately before they do.
func (b *Broker) CheckLease(ctx context.Context, name string, revision uint64) error {
	e, err := b.leaseEntry(ctx, name)
	if errors.Is(err, ErrGone) || (err == nil && isMarker(e.Header)) {
		return fmt.Errorf("lease %s, revision %d: %w: nobody holds it", name, revision, ErrLeaseLost)
	}
	if err != nil {
		return fmt.Errorf("check lease %s: %w", name, err)
	}
	var record leaseRecord
	if err := json.Unmarshal(e.Data, &record); err != nil {
		return fmt.Errorf("lease %s: unreadable record: %w", name, err)
	}
	if record.epoch(e.Sequence) != revision {
		return fmt.Errorf("lease %s, revision %d: %w: %s holds it", name, revision, ErrLeaseLost, record.Holder)
	}
	return nil
}

// ResetLeases forgets all leases, for the start of a process whose broker nobody
// else can reach (see [Embedded.Private]): what it finds are its own former
// life's, and waiting for them to expire would only delay it. On a broker that
// others can reach it does nothing. Revisions go on ascending.
func (b *Broker) ResetLeases(ctx context.Context) error {
	if !b.Private() {
		return nil
	}
	s, err := b.stream(ctx, "KV_"+b.Buckets().Leases)
	if err != nil {
		return fmt.Errorf("reset leases: %w", err)
	}
	if err := s.Purge(ctx); err != nil {
		return fmt.Errorf("reset leases: %w", err)
	}
	return nil
}
