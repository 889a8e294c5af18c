package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// LogOptions says how a log is read. The zero value is a good start.
type LogOptions struct {
	// PullMaxBytes bounds what is read ahead. Default 4 MiB.
	PullMaxBytes int
}

// LogReader reads a subject of a log, wildcards included, in the order of the
// stream, without end. It is not safe for concurrent use.
//
// Nothing that is trimmed before it was read goes unnoticed (DESIGN section 4,
// "gaps are checked"): when it begins, and whenever it begins anew after a lost
// connection, it compares its position with what is still there, and where the
// entries name their predecessors it compares those.
type LogReader struct {
	b       *Broker
	stream  string
	subject string
	o       LogOptions
	next    uint64            // stream sequence from which on everything is wanted; 0: whatever there is
	floor   uint64            // everything below it is accounted for, whatever the subject
	chain   map[string]uint64 // newest sequence read of each subject that is a chain
	reading *reading
	unread  *Entry // was received, and its content was not fetched yet
	retry   *retryPause
	closed  bool
}

// reading is one consumer's life.
type reading struct {
	name     string
	iterator jetstream.MessagesContext
	session  context.Context // ends with the connection
	received uint64          // the consumer's count of what it delivered
}

// Follow reads a subject of a stream from a stream sequence on: one above that
// of the last entry that was processed, or 0 for whatever there is. The error of
// this, as of [LogReader.Next], is [ErrGap] when entries from there on are gone.
//
// Without predecessors to compare (entries that no [Appender] wrote), a stream
// with limits whose beginning has passed the position counts as a gap: nobody
// can tell what was there.
func (b *Broker) Follow(ctx context.Context, stream, subject string, from uint64, o LogOptions) (*LogReader, error) {
	o.PullMaxBytes = orDefault(o.PullMaxBytes, 4*mib)
	r := &LogReader{
		b: b, stream: stream, subject: subject, o: o, next: from, floor: from,
		chain: make(map[string]uint64),
		retry: newBackoff(20*time.Millisecond, 2*time.Second),
	}
	if err := r.open(ctx); err != nil {
		return nil, r.wrap(err)
	}
	return r, nil
}

// Next returns the next entry, waiting for it until ctx ends. It reconnects and
// begins anew by itself. The errors are ctx's, [ErrGap], [ErrClaimLost] (the
// entry is skipped by the next call), and [ErrClosed].
func (r *LogReader) Next(ctx context.Context) (Entry, error) {
	if r.unread == nil {
		e, err := r.receive(ctx)
		if err != nil {
			return Entry{}, r.wrap(err)
		}
		r.unread = &e
	}
	e, err := r.b.complete(ctx, *r.unread)
	if err != nil && !errors.Is(err, ErrClaimLost) {
		return Entry{}, r.wrap(err) // its content is still there: the next call gets it
	}
	r.advance(*r.unread)
	r.unread = nil
	if err != nil {
		return Entry{}, r.wrap(err)
	}
	return e, nil
}

// Position is the stream sequence from which on to follow in order to continue
// after what Next has returned. It may be well above the last entry's.
func (r *LogReader) Position() uint64 { return r.next }

// Close ends the reading.
func (r *LogReader) Close() error {
	r.closed = true
	r.drop()
	return nil
}

func (r *LogReader) wrap(err error) error {
	if _, ok := err.(*GapError); ok {
		return err
	}
	return fmt.Errorf("follow %s of %s: %w", r.subject, r.stream, err)
}

// receive returns the next entry, from a new consumer when the old one has ended.
func (r *LogReader) receive(ctx context.Context) (Entry, error) {
	for {
		if r.closed {
			return Entry{}, ErrClosed
		}
		if r.reading == nil {
			if err := r.open(ctx); err != nil {
				return Entry{}, err
			}
		}
		e, err := r.reading.entry(ctx)
		if err == nil {
			r.retry.reset()
			return e, r.checkChain(e)
		}
		if ctx.Err() != nil {
			return Entry{}, ctx.Err()
		}
		r.drop()
		if err := r.retry.wait(ctx); err != nil {
			return Entry{}, err
		}
	}
}

var errDeliveryLost = errors.New("a delivery was lost")

// entry takes one message from the consumer.
func (g *reading) entry(ctx context.Context) (Entry, error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(g.session, cancel)()
	m, err := g.iterator.Next(jetstream.NextContext(waiting))
	if err != nil {
		return Entry{}, err
	}
	meta, err := m.Metadata()
	if err != nil {
		return Entry{}, err
	}
	if meta.Sequence.Consumer != g.received+1 {
		return Entry{}, errDeliveryLost // with a connection that failed for a moment
	}
	g.received++
	return Entry{
		Sequence: meta.Sequence.Stream, Subject: m.Subject(), Header: m.Headers(),
		Data: m.Data(), Time: meta.Timestamp,
	}, nil
}

// checkChain compares an entry's predecessor with what was read of its subject.
// A later one than that was trimmed before it was read.
func (r *LogReader) checkChain(e Entry) error {
	named := e.Header.Get(HeaderPrevious)
	if named == "" {
		return nil
	}
	seen := max(r.chain[e.Subject]+1, r.floor)
	if parseUint(named) < seen {
		return nil
	}
	return &GapError{Stream: r.stream, Subject: e.Subject, Want: seen, Have: e.Sequence}
}

func (r *LogReader) advance(e Entry) {
	r.next = e.Sequence + 1
	if e.Header.Get(HeaderPrevious) != "" {
		r.chain[e.Subject] = e.Sequence
	}
}

// open begins to read at the position, or says that it is no longer there.
func (r *LogReader) open(ctx context.Context) error {
	session, err := r.b.session.wait(ctx)
	if err != nil {
		return err
	}
	var g *reading
	err = r.b.insist(ctx, func(ctx context.Context) error {
		last, err := r.checkPosition(ctx)
		if err != nil {
			return err
		}
		g, err = r.consume(ctx, last)
		return err
	})
	if err != nil {
		return err
	}
	g.session = session
	r.reading = g
	return nil
}

// consume creates a consumer at the position. last is the newest sequence of the
// stream of a moment ago.
func (r *LogReader) consume(ctx context.Context, last uint64) (*reading, error) {
	config := jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       r.next,
		FilterSubject:     r.subject,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: 5 * time.Minute,
	}
	c, err := r.b.js.CreateConsumer(ctx, r.stream, config)
	if err != nil {
		return nil, err
	}
	if c.CachedInfo().NumPending == 0 {
		// Nothing of ours lies in between.
		r.next = max(r.next, last+1)
		r.floor = r.next
	}
	iterator, err := c.Messages(
		jetstream.PullMaxMessagesWithBytesLimit(512, max(r.o.PullMaxBytes, 2*int(r.b.conn.MaxPayload()))),
		jetstream.PullHeartbeat(pullHeartbeat),
		jetstream.WithMessagesErrOnMissingHeartbeat(true))
	if err != nil {
		return nil, err
	}
	return &reading{name: c.CachedInfo().Name, iterator: iterator}, nil
}

// checkPosition says whether everything from the position on is still there, and
// what the stream's newest sequence is.
func (r *LogReader) checkPosition(ctx context.Context) (last uint64, err error) {
	s, err := r.b.stream(ctx, r.stream)
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return 0, err
	}
	state, limited := info.State, info.Config.MaxBytes > 0 || info.Config.MaxAge > 0 || info.Config.MaxMsgs > 0
	switch {
	case r.next == 0:
		r.next = max(state.FirstSeq, 1)
		r.floor = r.next
		return state.LastSeq, nil
	case r.next > state.LastSeq+1:
		return 0, &GapError{Stream: r.stream, Subject: r.subject, Want: r.next, Reset: true}
	case !limited || state.FirstSeq <= r.next:
		// Without limits only what its readers have purged is missing.
		return state.LastSeq, nil
	}
	e, err := r.b.getNext(ctx, r.stream, r.subject, r.next)
	switch {
	case errors.Is(err, ErrGone):
		return 0, &GapError{Stream: r.stream, Subject: r.subject, Want: r.next}
	case err != nil:
		return 0, err
	case e.Header.Get(HeaderPrevious) == "":
		return 0, &GapError{Stream: r.stream, Subject: r.subject, Want: r.next, Have: e.Sequence}
	}
	// Each entry of a chain is checked as it is read.
	return state.LastSeq, nil
}

// drop ends the consumer's life, if there is one.
func (r *LogReader) drop() {
	if r.reading == nil {
		return
	}
	g := r.reading
	r.reading = nil
	g.iterator.Stop()
	if g.session.Err() != nil {
		return // it ends by itself, see InactiveThreshold
	}
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	if err := r.b.js.DeleteConsumer(ctx, r.stream, g.name); err != nil {
		r.b.log.Debug("delete consumer of log", "stream", r.stream, "error", err)
	}
}
