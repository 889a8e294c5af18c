package selector

import (
	"context"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	millracev1 "millrace/proto/millrace/v1"
)

// loggedBatches is how many batches are kept that replays have read last: those of jobs that were passed over
// together need the same ones at about the same time, and one may be of tens of thousands of rows.
const loggedBatches = 4

// logged is what replays read of the logs of feeds, for as long as there are replays.
type logged struct {
	svc *Service

	mu       sync.Mutex
	replays  int
	readings []*logReading // the one used last comes last
}

// logReading is the first batch of a feed at or behind a sequence of its stream.
type logReading struct {
	feed string
	from uint64
	had  chan struct{} // has room for the one who reads it

	batch    *millracev1.ChangesBatch // nil until it is read; nobody changes it
	sequence uint64
}

// begin is told of a replay; what it returns is called at the replay's end.
func (l *logged) begin() (end func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replays++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.replays--; l.replays == 0 {
			l.readings = nil
		}
	}
}

func (l *logged) of(feed string, from uint64) *logReading {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &logReading{feed: feed, from: from, had: make(chan struct{}, 1)}
	if i := slices.IndexFunc(l.readings, func(r *logReading) bool { return r.feed == feed && r.from == from }); i >= 0 {
		r = l.readings[i]
		l.readings = slices.Delete(l.readings, i, i+1)
	}
	l.readings = append(l.readings, r)
	if len(l.readings) > loggedBatches {
		l.readings = slices.Delete(l.readings, 0, 1)
	}
	return r
}

// next returns the first batch at or behind a sequence, and where it stands. The error is the broker's.
func (l *logged) next(ctx context.Context, feed string, from uint64) (*millracev1.ChangesBatch, uint64, error) {
	r := l.of(feed, from)
	select {
	case r.had <- struct{}{}:
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
	defer func() { <-r.had }()
	if r.batch != nil {
		return r.batch, r.sequence, nil
	}
	b := l.svc.stage.Broker()
	e, err := b.Next(ctx, b.Streams().Changes, b.Subjects().Changes(feed), from)
	if err != nil {
		return nil, 0, err
	}
	batch := &millracev1.ChangesBatch{}
	if err := proto.Unmarshal(e.Data, batch); err != nil {
		return nil, 0, err
	}
	r.batch, r.sequence = batch, e.Sequence
	return batch, e.Sequence, nil
}
