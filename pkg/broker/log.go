package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrGap says that entries of a log were lost to its reader: trimmed before they
// were read. Errors that match it are *[GapError].
var ErrGap = errors.New("entries of the log are gone")

// GapError says where a log's reader lost entries.
type GapError struct {
	Stream, Subject string
	// Want is the stream sequence from which on all entries were needed.
	Want uint64
	// Have is the first that is there; 0 when there is none at or after Want.
	Have uint64
	// Reset is true when the stream ends before Want: it is not the stream that
	// the position was taken from.
	Reset bool
}

func (e *GapError) Error() string {
	if e.Reset {
		return fmt.Sprintf("log %s of %s: %v: the stream ends before %d", e.Subject, e.Stream, ErrGap, e.Want)
	}
	return fmt.Sprintf("log %s of %s: %v: wanted from %d on, the first is %d", e.Subject, e.Stream, ErrGap, e.Want, e.Have)
}

// Is makes a GapError match [ErrGap].
func (e *GapError) Is(target error) bool { return target == ErrGap }

// First returns the oldest entry of a subject; [ErrGone] when there is none.
func (b *Broker) First(ctx context.Context, stream, subject string) (Entry, error) {
	return b.entryOf(ctx, stream, subject, func() (Entry, error) { return b.getNext(ctx, stream, subject, 1) })
}

// Last returns the newest entry of a subject; [ErrGone] when there is none.
func (b *Broker) Last(ctx context.Context, stream, subject string) (Entry, error) {
	return b.entryOf(ctx, stream, subject, func() (Entry, error) { return b.getLast(ctx, stream, subject) })
}

// Next returns the first entry of a subject at or behind a stream sequence; [ErrGone] when
// there is none.
func (b *Broker) Next(ctx context.Context, stream, subject string, from uint64) (Entry, error) {
	return b.entryOf(ctx, stream, subject, func() (Entry, error) { return b.getNext(ctx, stream, subject, from) })
}

func (b *Broker) entryOf(ctx context.Context, stream, subject string, get func() (Entry, error)) (Entry, error) {
	e, err := get()
	if err == nil {
		e, err = b.complete(ctx, e)
	}
	if err != nil {
		return Entry{}, fmt.Errorf("read %s of %s: %w", subject, stream, err)
	}
	return e, nil
}

// Removed reports that an entry of a bucket is the mark of a key that went.
func (e Entry) Removed() bool { return isMarker(e.Header) }

// SubjectsIn lists the subjects that have entries in a stream; filter is one with
// wildcards.
func (b *Broker) SubjectsIn(ctx context.Context, stream, filter string) ([]string, error) {
	var found []string
	err := b.insist(ctx, func(ctx context.Context) error {
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		info, err := s.Info(ctx, jetstream.WithSubjectFilter(filter))
		if err != nil {
			return err
		}
		found = slices.Collect(maps.Keys(info.State.Subjects))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list subjects of %s: %w", stream, err)
	}
	return found, nil
}

// PurgeAll removes the entries of a subject, wildcards included.
func (b *Broker) PurgeAll(ctx context.Context, stream, subject string) error {
	return b.Purge(ctx, stream, subject, math.MaxUint64)
}

// Purge removes the entries of a subject whose stream sequence is below the one
// given: what is checkpointed need not be kept.
func (b *Broker) Purge(ctx context.Context, stream, subject string, below uint64) error {
	if below <= 1 {
		return nil // the broker would take 0 for "everything"
	}
	err := b.insist(ctx, func(ctx context.Context) error {
		s, err := b.stream(ctx, stream)
		if err != nil {
			return err
		}
		return s.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(below))
	})
	if err != nil {
		return fmt.Errorf("purge %s of %s below %d: %w", subject, stream, below, err)
	}
	return nil
}
