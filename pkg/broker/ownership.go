package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// takeOver writes this owner's marker, unless the log has seen a later owner.
func (a *Appender) takeOver(ctx context.Context) error {
	for retry := newBackoff(5*time.Millisecond, time.Second); ; {
		found, err := a.b.getLast(ctx, a.stream(), a.owner)
		if err != nil && !errors.Is(err, ErrGone) {
			return err
		}
		if epochOf(found) > a.epoch {
			return a.fencedBy(found)
		}
		marker, err := a.mark(ctx, found.Sequence)
		if err == nil {
			a.mu.Lock()
			a.marker = marker
			a.mu.Unlock()
			return nil
		}
		if judge(err) == verdictNever || ctx.Err() != nil {
			return publishError(a.owner, err)
		}
		// Somebody else marked it at the same moment: look who.
		if stop := retry.wait(ctx); stop != nil {
			return errors.Join(stop, err)
		}
	}
}

// mark writes the marker on condition that the newest one has a given sequence,
// and repeats it, under the same id, while the outcome is unknown.
func (a *Appender) mark(ctx context.Context, expected uint64) (uint64, error) {
	m := newMessage(a.owner, nil, []PublishOption{
		MsgID(nuid.Next()),
		Header(HeaderEpoch, formatUint(a.epoch)),
		ExpectLast(a.owner, expected),
	})
	for retry := newBackoff(5*time.Millisecond, time.Second); ; {
		sequence, err := a.b.publishOnce(ctx, m, writeTimeout)
		if err == nil || judge(err) != verdictRetry {
			return sequence, err
		}
		if stop := retry.wait(ctx); stop != nil {
			return 0, errors.Join(stop, err)
		}
	}
}

// reclaim is what follows a refusal: the marker is no longer the newest. Either
// somebody has taken over, or the log's limits have trimmed our marker: then it
// is written again. It also is when an older owner, in a moment without any
// marker, put its own there.
func (a *Appender) reclaim(ctx context.Context) error {
	found, err := a.b.getLast(ctx, a.stream(), a.owner)
	if err == nil {
		switch {
		case found.Sequence == a.Marker():
			return nil // a new leader may not have known it yet: the append is tried again
		case epochOf(found) >= a.epoch:
			return a.fencedBy(found)
		}
		return a.takeOver(ctx)
	}
	if !errors.Is(err, ErrGone) {
		return err
	}
	newest, err := a.b.getLast(ctx, a.stream(), a.subject)
	switch {
	case err == nil && epochOf(newest) > a.epoch:
		return a.fencedBy(newest)
	case err == nil:
		return a.takeOver(ctx)
	case !errors.Is(err, ErrGone):
		return err
	}
	// The stream knows nothing of this feed any more: a later owner's traces may
	// have been trimmed together with ours.
	if a.o.Confirm == nil {
		return fmt.Errorf("%w: the log and its markers were trimmed", ErrFenced)
	}
	if err := a.o.Confirm(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrFenced, err)
	}
	return a.takeOver(ctx)
}

// predecessor is what the first entry of this owner names as the one before. In
// a log that is empty there may have been entries below what the stream still
// has: a reader that has not seen those far must notice.
func (a *Appender) predecessor(ctx context.Context) (uint64, error) {
	newest, err := a.LastAppended(ctx)
	if !errors.Is(err, ErrGone) {
		return newest.Sequence, err
	}
	var first uint64
	err = a.b.insist(ctx, func(ctx context.Context) error {
		s, err := a.b.stream(ctx, a.stream())
		if err != nil {
			return err
		}
		info, err := s.Info(ctx)
		if err == nil {
			first = info.State.FirstSeq
		}
		return err
	})
	return max(first, 1) - 1, err
}

// LastAppended returns the newest entry of the log, [ErrGone] when it has none.
// Nothing that another owner appended can be missing: what answers has this
// owner's marker, and behind that the broker accepts no other's entries.
func (a *Appender) LastAppended(ctx context.Context) (Entry, error) {
	for retry := newBackoff(5*time.Millisecond, time.Second); ; {
		newest, err := a.lastBehindMarker(ctx)
		if err == nil {
			newest, err = a.b.complete(ctx, newest)
		}
		if err == nil || final(err) || errors.Is(err, ErrFenced) || errors.Is(err, ErrClaimLost) {
			if err != nil {
				err = fmt.Errorf("newest entry of %s: %w", a.subject, err)
			}
			return newest, err
		}
		if stop := retry.wait(ctx); stop != nil {
			return Entry{}, fmt.Errorf("newest entry of %s: %w", a.subject, errors.Join(stop, err))
		}
	}
}

var errReplicaLags = errors.New("the replica has not got the marker yet")

func (a *Appender) lastBehindMarker(ctx context.Context) (Entry, error) {
	found, err := a.b.newestOf(ctx, a.stream(), a.owner, a.subject)
	if err != nil {
		return Entry{}, err
	}
	marker, mine := found[a.owner], a.Marker()
	switch {
	case marker.Sequence > mine:
		return Entry{}, a.fencedBy(marker)
	case marker.Sequence == mine:
	case marker.Sequence == 0 && found[a.subject].Sequence > mine:
		// The marker was trimmed, and the replica has seen what came after it.
	case marker.Sequence == 0 && a.markerTrimmed(ctx):
		return a.b.getLast(ctx, a.stream(), a.subject)
	default:
		return Entry{}, errReplicaLags
	}
	newest, ok := found[a.subject]
	if !ok {
		return Entry{}, ErrGone
	}
	return newest, nil
}

// markerTrimmed asks the leader whether there is a marker at all.
func (a *Appender) markerTrimmed(ctx context.Context) bool {
	_, err := a.b.getLast(ctx, a.stream(), a.owner)
	return errors.Is(err, ErrGone)
}

func (a *Appender) stream() string { return a.b.Streams().Changes }

func (a *Appender) fencedBy(e Entry) error {
	return fmt.Errorf("%w: epoch %d has %s, this is %d", ErrFenced, epochOf(e), a.subject, a.epoch)
}

func epochOf(e Entry) uint64 {
	if e.Header == nil {
		return 0
	}
	return parseUint(e.Header.Get(HeaderEpoch))
}

// newestOf reads the newest message of each subject, all from one replica at one
// moment. Subjects without any are left out.
func (b *Broker) newestOf(ctx context.Context, stream string, subjects ...string) (map[string]Entry, error) {
	request, err := json.Marshal(map[string][]string{"multi_last": subjects})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	inbox := b.conn.NewInbox()
	answers, err := b.conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answers.Unsubscribe() }() // fails only when the connection is closed
	if err := b.conn.PublishRequest("$JS.API.DIRECT.GET."+stream, inbox, request); err != nil {
		return nil, err
	}
	found := make(map[string]Entry)
	for {
		m, err := answers.NextMsgWithContext(ctx)
		if err != nil {
			return nil, err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			e := directEntry(m)
			found[e.Subject] = e
		case "204", "404": // that is all; there is none
			return found, nil
		default:
			return nil, fmt.Errorf("newest messages of %s: status %s %s", stream, status, m.Header.Get("Description"))
		}
	}
}

// directEntry reads an answer to a direct request.
func directEntry(m *nats.Msg) Entry {
	e := Entry{
		Sequence: parseUint(m.Header.Get(jetstream.SequenceHeader)),
		Subject:  m.Header.Get(jetstream.SubjectHeader),
		Data:     m.Data,
	}
	if at, err := time.Parse(time.RFC3339Nano, m.Header.Get(jetstream.TimeStampHeaer)); err == nil {
		e.Time = at
	}
	e.Header = storedHeader(m.Header)
	return e
}
