package content

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nuid"

	"millrace/pkg/broker"
)

const (
	// headerOffset is where in its content a chunk begins.
	headerOffset = "Millrace-Offset"
	// headerState is the state of the MD5 of all of the content up to the end of the chunk,
	// so that whoever goes on need not read what is stored already.
	headerState = "Millrace-Md5-State"
)

// Source is where a content comes from.
type Source struct {
	// ID, Length and MD5 of the content; MD5 is nil where it is not known.
	ID     string
	Length int64
	MD5    []byte
	// Open begins reading at an offset.
	Open func(ctx context.Context, offset int64) (io.ReadCloser, error)
	// Check says, now and then, whether it is still worth going on; nil means always.
	Check func(ctx context.Context) error
}

// Ensure sees to it that a content is stored for which room was reserved, and returns its MD5.
// While somebody else stores it it waits for him; where somebody has begun and is no more it
// goes on behind his last chunk. At most one chunk is in memory (invariant 5).
//
// Whoever stores a content holds it for a time that he prolongs, and stores nothing once that
// is over. A process that was stopped in the very moment in which it was about to, and wakes,
// stores one chunk that is there already: it says where it belongs, and readers pass over it.
// That the broker refuses it would be had only with an expected sequence, for which the broker
// keeps in memory what is stored in ten seconds (ADR 011).
func (s *Store) Ensure(ctx context.Context, from Source) ([]byte, error) {
	holder := nuid.Next()
	var differing []byte // the MD5 that was found in place of the one that was announced
	for {
		var done bool
		asked := time.Now()
		err := s.update(ctx, func(l ledger) (err error) {
			done, err = l.hold(from.ID, holder, l.now.Add(s.o.HoldTime))
			return err
		})
		switch {
		case errors.Is(err, errBusy):
			if from.Check != nil {
				if err := from.Check(ctx); err != nil {
					return nil, err
				}
			}
			if err := await(ctx, lookAgain); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, fmt.Errorf("store content: %w", err)
		case done:
			sum, err := s.stored(ctx, from)
			if err == nil || !errors.Is(err, broker.ErrGone) {
				return sum, err
			}
			if err := s.update(ctx, func(l ledger) error { l.reopen(from.ID); return nil }); err != nil {
				return nil, err
			}
			continue
		}
		sum, err := s.holding(ctx, from, holder, asked)
		switch {
		case errors.Is(err, errBusy): // the time has run out, and another may have taken over
			continue
		case err != nil:
			return nil, errors.Join(fmt.Errorf("store content: %w", err), s.settle(context.WithoutCancel(ctx), from.ID, holder, false))
		case from.MD5 != nil && !bytes.Equal(sum, from.MD5) && !bytes.Equal(sum, differing):
			// A byte was changed on its way, or the source says a digest of something else. Which
			// of them it is is seen when it comes again.
			differing = sum
			if err := s.clear(ctx, from.ID, holder); err != nil {
				return nil, err
			}
			continue
		}
		return sum, s.settle(ctx, from.ID, holder, true)
	}
}

// settle ends the holding of a content.
func (s *Store) settle(ctx context.Context, id, holder string, complete bool) error {
	return s.update(ctx, func(l ledger) error {
		l.settle(id, holder, complete)
		return nil
	})
}

// stored is the MD5 of a content that is stored whole; [broker.ErrGone] when it is not.
func (s *Store) stored(ctx context.Context, from Source) ([]byte, error) {
	at, err := s.position(ctx, from.ID)
	if err != nil {
		return nil, err
	}
	if at.offset != from.Length || at.hash == nil {
		return nil, fmt.Errorf("content of %d bytes ends at %d: %w", from.Length, at.offset, broker.ErrGone)
	}
	return at.hash.Sum(nil), nil
}

// clear removes what is stored of a content by the one who holds it.
func (s *Store) clear(ctx context.Context, id, holder string) error {
	return s.purge(ctx, id, func(l ledger) bool {
		e := l.find(id)
		return e != nil && e.Holder == holder
	})
}

// position is how far a content is stored.
type position struct {
	sequence atomic.Uint64 // of the last chunk; 0 for none
	offset   int64         // behind it
	hash     hash.Hash
	empty    bool // content without bytes has one chunk without any
	// until is when the holding runs out unless it was prolonged.
	until atomic.Pointer[time.Time]
}

// position finds the end of what is stored. What has lost its beginning is not stored at all.
func (s *Store) position(ctx context.Context, id string) (*position, error) {
	at := &position{hash: md5.New()}
	last, err := s.furthest(ctx, id)
	if errors.Is(err, broker.ErrGone) {
		return at, nil
	}
	if err != nil {
		return nil, err
	}
	first, err := s.broker.Next(ctx, s.stream(), s.subject(id), 1)
	if err != nil {
		return nil, err
	}
	at.sequence.Store(last.Sequence)
	if first.Header.Get(headerOffset) != "0" {
		return at, nil
	}
	begin, err := offsetOf(last)
	if err != nil {
		return nil, err
	}
	state, err := base64.StdEncoding.DecodeString(last.Header.Get(headerState))
	if err != nil {
		return nil, fmt.Errorf("unreadable chunk of a content: %w", err)
	}
	at.offset, at.empty = begin+int64(len(last.Data)), len(last.Data) == 0
	return at, at.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state)
}

// furthest is the chunk that is furthest within its content. It is the newest, unless that is of a
// process that was stopped when the content was further.
func (s *Store) furthest(ctx context.Context, id string) (broker.Entry, error) {
	last, err := s.last(ctx, id)
	if err != nil {
		return last, err
	}
	book, _, err := s.read(ctx)
	if err != nil {
		return last, err
	}
	e := (ledger{ContentLedger: book}).find(id)
	if e.GetReached() == 0 || e.Reached >= last.Sequence {
		return last, nil
	}
	reached, err := s.broker.GetEntry(ctx, s.stream(), e.Reached)
	if errors.Is(err, broker.ErrGone) {
		return last, nil
	}
	if err != nil || reached.Subject != last.Subject {
		return last, err
	}
	there, err := offsetOf(reached)
	newest, err2 := offsetOf(last)
	if there > newest {
		last = reached
	}
	return last, errors.Join(err, err2)
}

// offsetOf is where in its content a chunk begins.
func offsetOf(chunk broker.Entry) (int64, error) {
	n, err := strconv.ParseInt(chunk.Header.Get(headerOffset), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("unreadable chunk of a content: %w", err)
	}
	return n, nil
}

// holding stores what is not stored yet of a content, while it is held, and returns its MD5. The
// error is errBusy when the time for that has run out.
func (s *Store) holding(ctx context.Context, from Source, holder string, since time.Time) ([]byte, error) {
	at, err := s.position(ctx, from.ID)
	if err != nil {
		return nil, err
	}
	if at.sequence.Load() != 0 && at.offset == 0 && !at.empty { // it has lost its beginning
		if err := s.clear(ctx, from.ID, holder); err != nil {
			return nil, err
		}
		at.sequence.Store(0)
	}
	at.holdFrom(since, s.o.HoldTime)
	ctx, cancel := context.WithCancelCause(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		cancel(s.renew(ctx, from, holder, at))
	}()
	err = s.append(ctx, from, at)
	cancel(nil)
	<-renewed
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return at.hash.Sum(nil), err
}

// holdFrom notes that the content is held for a time from a moment on.
func (p *position) holdFrom(moment time.Time, d time.Duration) {
	until := moment.Add(d)
	p.until.Store(&until)
}

// held reports whether the holding has not run out. Both clocks are asked: the monotonic one does
// not count while a machine sleeps.
func (p *position) held() bool {
	now, until := time.Now(), p.until.Load()
	return now.Before(*until) && now.Round(0).Before(until.Round(0))
}

// renew prolongs the holding until ctx ends, or it is lost.
func (s *Store) renew(ctx context.Context, from Source, holder string, at *position) error {
	ticker := time.NewTicker(s.o.HoldTime / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if from.Check != nil {
			if err := from.Check(ctx); err != nil {
				return err
			}
		}
		asked := time.Now()
		err := s.update(ctx, func(l ledger) error {
			done, err := l.hold(from.ID, holder, l.now.Add(s.o.HoldTime))
			if done {
				err = errBusy // somebody else has completed it
			}
			if err == nil {
				l.reach(from.ID, at.sequence.Load())
			}
			return err
		})
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		at.holdFrom(asked, s.o.HoldTime)
	}
}

// append reads a content from its source and stores it behind what is there. A source that breaks
// off after some bytes is asked again from there on.
func (s *Store) append(ctx context.Context, from Source, at *position) error {
	if from.Length == 0 && !at.empty {
		return s.chunk(ctx, from.ID, at, nil)
	}
	buffer := make([]byte, min(int64(s.o.ChunkBytes), from.Length))
	for at.offset < from.Length {
		began := at.offset
		err := s.appendFrom(ctx, from, at, buffer)
		if err != nil && (at.offset == began || errors.Is(err, errBusy) || ctx.Err() != nil) {
			return err
		}
	}
	return nil
}

// appendFrom stores one reading of the source.
func (s *Store) appendFrom(ctx context.Context, from Source, at *position, buffer []byte) (err error) {
	r, err := from.Open(ctx, at.offset)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for at.offset < from.Length {
		n, err := io.ReadFull(r, buffer[:min(int64(len(buffer)), from.Length-at.offset)])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if n > 0 {
			if err := s.chunk(ctx, from.ID, at, buffer[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// chunk stores one chunk behind the last one.
func (s *Store) chunk(ctx context.Context, id string, at *position, data []byte) error {
	at.hash.Write(data)
	state, err := at.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return fmt.Errorf("state of the MD5: %w", err)
	}
	if !at.held() {
		return errBusy
	}
	sequence, err := s.publisher.PublishSeq(ctx, s.subject(id), data,
		broker.Header(headerOffset, strconv.FormatInt(at.offset, 10)),
		broker.Header(headerState, base64.StdEncoding.EncodeToString(state)))
	if err != nil {
		return err
	}
	at.sequence.Store(sequence)
	at.offset += int64(len(data))
	return nil
}
