package content

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/pause"
	millracev1 "millrace/proto/millrace/v1"
)

// DefaultCapacity is how many bytes there may be of all contents together.
const DefaultCapacity = 4 << 30

// ledgerKey is the one key of the bucket.
const ledgerKey = "ledger"

// Options of a [Store]. The zero value of a field means its default.
type Options struct {
	// Capacity is how many bytes there may be of all contents together: what the programs
	// that reserve room are told. Default [DefaultCapacity].
	Capacity int64
	// HoldTime is for how long whoever stores a content is taken to be alive after he was
	// heard of last. Default ten seconds, about what messages of the dead wait.
	HoldTime time.Duration
	// ChunkBytes is the size of chunks. Default 448 KiB, as for documents.
	ChunkBytes int
}

// Store is the contents of one installation. It is safe for concurrent use, by any number of
// processes.
type Store struct {
	broker    *broker.Broker
	publisher *broker.Publisher
	o         Options
}

// New returns the store on a connection. The publisher stays the caller's.
func New(b *broker.Broker, p *broker.Publisher, o Options) *Store {
	if o.Capacity <= 0 {
		o.Capacity = DefaultCapacity
	}
	if o.HoldTime <= 0 {
		o.HoldTime = 10 * time.Second
	}
	if o.ChunkBytes <= 0 {
		o.ChunkBytes = 448 << 10
	}
	const headers = 4 << 10
	o.ChunkBytes = min(o.ChunkBytes, int(b.Conn().MaxPayload())-headers)
	return &Store{broker: b, publisher: p, o: o}
}

// Capacity is how many bytes there may be of all contents together.
func (s *Store) Capacity() int64 { return s.o.Capacity }

// Reserve makes room for all contents of a part, or for none, and keeps them for it until it is
// released. It waits for patience at most. The errors are [ErrNoRoom] and [ErrTooLarge].
//
// alive says whether a run is under way: what belongs to one that is over is needed by
// nobody. It is asked only when there is no room.
func (s *Store) Reserve(ctx context.Context, c Claim, wanted []Wanted, patience time.Duration, alive func(ctx context.Context, job string, run uint64) bool) error {
	deadline := time.Now().Add(patience)
	for {
		err := s.update(ctx, func(l ledger) error { return l.reserve(c, wanted) })
		switch {
		case errors.Is(err, errDoomed):
			if err := s.purgeDoomed(ctx); err != nil {
				return err
			}
			continue
		case !errors.Is(err, ErrNoRoom):
			return err
		}
		freed, err2 := s.releaseDead(ctx, alive)
		if err2 != nil {
			return err2
		}
		if freed {
			continue
		}
		if time.Now().After(deadline) {
			return err
		}
		if err := await(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// Release gives up what a part needed: it was written, or has to be fetched again. Contents
// stay for whoever else wants them, until others want their room.
func (s *Store) Release(ctx context.Context, part string) error {
	err := s.update(ctx, func(l ledger) error {
		l.release(part)
		l.doomStale()
		return nil
	})
	if err != nil {
		return err
	}
	return s.purgeDoomed(ctx)
}

// releaseDead gives up what parts needed whose runs are over.
func (s *Store) releaseDead(ctx context.Context, alive func(ctx context.Context, job string, run uint64) bool) (freed bool, err error) {
	book, _, err := s.read(ctx)
	if err != nil {
		return false, err
	}
	type run struct {
		job string
		run uint64
	}
	known := map[run]bool{}
	var dead []string
	for _, p := range book.Pins {
		of := run{p.Job, p.Run}
		lives, asked := known[of]
		switch {
		case asked:
		case p.Run == 0:
			lives = time.Since(time.Unix(0, p.Since)) < releasedTime
		default:
			lives = alive(ctx, p.Job, p.Run)
			known[of] = lives
		}
		if !lives {
			dead = append(dead, p.Id)
		}
	}
	if len(dead) == 0 {
		return false, nil
	}
	return true, s.update(ctx, func(l ledger) error {
		l.release(dead...)
		return nil
	})
}

// purgeDoomed removes the contents that are doomed.
func (s *Store) purgeDoomed(ctx context.Context) error {
	book, _, err := s.read(ctx)
	if err != nil {
		return err
	}
	for _, id := range (ledger{ContentLedger: book}).doomed() {
		if err := s.purge(ctx, id, func(l ledger) bool {
			e := l.find(id)
			return e != nil && e.Doomed
		}); err != nil {
			return err
		}
		if err := s.update(ctx, func(l ledger) error {
			l.remove(id)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// purge removes the chunks that there are of a content, if the ledger still says so after they
// were looked up: what is stored later, because somebody else has removed the
// content meanwhile and a third stores it anew, is behind them and stays.
func (s *Store) purge(ctx context.Context, id string, still func(ledger) bool) error {
	last, err := s.last(ctx, id)
	if errors.Is(err, broker.ErrGone) {
		return nil
	}
	if err != nil {
		return err
	}
	book, _, err := s.read(ctx)
	if err != nil || !still(ledger{ContentLedger: book}) {
		return err
	}
	return s.broker.Purge(ctx, s.stream(), s.subject(id), last.Sequence+1)
}

// update changes the ledger, if change does not fail, or fails with an error that is only about
// what it has noted. It is called again when somebody else has changed the ledger meanwhile.
func (s *Store) update(ctx context.Context, change func(ledger) error) error {
	for {
		book, revision, err := s.read(ctx)
		if err != nil {
			return err
		}
		before := proto.CloneOf(book)
		outcome := change(ledger{ContentLedger: book, capacity: s.o.Capacity, now: time.Now()})
		if proto.Equal(before, book) || errors.Is(outcome, ErrTooLarge) {
			return outcome
		}
		value, err := proto.Marshal(book)
		if err != nil {
			return fmt.Errorf("write the ledger of contents: %w", err)
		}
		if int64(len(value)) > s.broker.Conn().MaxPayload()-1024 {
			return ErrNoRoom
		}
		switch _, err := s.broker.WriteKey(ctx, s.broker.Buckets().Contents, ledgerKey, value, revision); {
		case err == nil:
			return outcome
		case !errors.Is(err, broker.ErrFenced):
			return fmt.Errorf("write the ledger of contents: %w", err)
		}
		if err := await(ctx, time.Millisecond); err != nil {
			return err
		}
	}
}

// read returns the ledger and its revision; it is empty when there is none.
func (s *Store) read(ctx context.Context) (*millracev1.ContentLedger, uint64, error) {
	bucket := s.broker.Buckets().Contents
	e, err := s.broker.Last(ctx, "KV_"+bucket, "$KV."+bucket+"."+ledgerKey)
	book := &millracev1.ContentLedger{}
	switch {
	case errors.Is(err, broker.ErrGone):
		return book, 0, nil
	case err != nil:
		return nil, 0, fmt.Errorf("read the ledger of contents: %w", err)
	case e.Removed():
		return book, 0, nil
	}
	if err := proto.Unmarshal(e.Data, book); err != nil {
		return nil, 0, fmt.Errorf("read the ledger of contents: %w", err)
	}
	return book, e.Sequence, nil
}

func (s *Store) stream() string           { return s.broker.Streams().Attachments }
func (s *Store) subject(id string) string { return s.broker.Subjects().Content(id) }

// last is the newest chunk of a content; [broker.ErrGone] where there is none.
func (s *Store) last(ctx context.Context, id string) (broker.Entry, error) {
	return s.broker.Last(ctx, s.stream(), s.subject(id))
}

// await is the pause of those who wait for each other; it varies, so that they do not all come at
// the same time.
func await(ctx context.Context, d time.Duration) error { return pause.For(ctx, d+rand.N(d)) }

// lookAgain is after how long whoever waits looks again.
const lookAgain = 200 * time.Millisecond
