package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// WaitLease is AcquireLease for whoever stands by: it waits until the lease is
// free. The error is ctx's.
func (b *Broker) WaitLease(ctx context.Context, name, holder string, ttl time.Duration) (*Lease, error) {
	l, err := b.AcquireLease(ctx, name, holder, ttl)
	var held *heldError
	for errors.As(err, &held) || errors.Is(err, ErrHeld) {
		sign := ""
		if held != nil {
			sign = held.sign
		}
		if l, err = b.waitFor(ctx, sign, name, holder, ttl); err == nil || ctx.Err() != nil {
			break
		}
		held = nil
	}
	return l, err
}

// waitFor waits until the lease is not kept by this sign of life any more.
func (b *Broker) waitFor(ctx context.Context, sign, name, holder string, ttl time.Duration) (*Lease, error) {
	watcher, err := b.watchLease(ctx, name, sign)
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
		var held *heldError
		switch {
		case err == nil || !errors.Is(err, ErrHeld):
			return l, err
		case errors.As(err, &held) && held.sign != sign:
			return nil, err // it is another's by now
		}
		if err := awaitEnd(ctx, watcher, ticker.C); err != nil {
			return nil, fmt.Errorf("wait for lease %s: %w", name, err)
		}
	}
}

// watchLease watches a lease, and the sign of life that keeps it, if one does.
func (b *Broker) watchLease(ctx context.Context, name, sign string) (jetstream.KeyWatcher, error) {
	keys := []string{Token(name)}
	if sign != "" {
		keys = append(keys, Token(signName(sign)))
	}
	var watcher jetstream.KeyWatcher
	err := b.insist(ctx, func(attempt context.Context) error {
		kv, err := b.js.KeyValue(attempt, b.Buckets().Leases)
		if err != nil {
			return err
		}
		watcher, err = kv.WatchFiltered(ctx, keys) // lives as long as the waiting
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
	record, err := readLease(name, e)
	if err != nil {
		return err
	}
	if record.epoch(e.Sequence) != revision {
		return fmt.Errorf("lease %s, revision %d: %w: %s holds it", name, revision, ErrLeaseLost, record.Holder)
	}
	alive, err := b.alive(ctx, record)
	if err != nil {
		return fmt.Errorf("check lease %s: %w", name, err)
	}
	if !alive {
		return fmt.Errorf("lease %s, revision %d: %w: its holder gives no sign of life", name, revision, ErrLeaseLost)
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
