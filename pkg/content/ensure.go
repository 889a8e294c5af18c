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
// Whoever stores a content holds it for a time that he prolongs. A process that was stopped for
// longer and wakes is refused by the broker, because each append names the one that it is
// to follow: nothing is ever stored twice, or behind a hole.
func (s *Store) Ensure(ctx context.Context, from Source) ([]byte, error) {
	holder := nuid.Next()
	var differing []byte // the MD5 that was found in place of the one that was announced
	for {
		var done bool
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
		sum, err := s.holding(ctx, from, holder)
		switch {
		case errors.Is(err, broker.ErrFenced): // the outcome of an append was not known, or another has taken over
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
	sequence uint64 // of the last chunk
	offset   int64  // behind it
	hash     hash.Hash
	empty    bool // content without bytes has one chunk without any
}

// position finds the end of what is stored. What has lost its beginning is not stored at all:
// it then begins anew behind what is left, which no reader takes for its own.
func (s *Store) position(ctx context.Context, id string) (position, error) {
	at := position{hash: md5.New()}
	last, err := s.last(ctx, id)
	if errors.Is(err, broker.ErrGone) {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	first, err := s.broker.Next(ctx, s.stream(), s.subject(id), 1)
	if err != nil {
		return at, err
	}
	begin, err := strconv.ParseInt(last.Header.Get(headerOffset), 10, 64)
	state, err2 := base64.StdEncoding.DecodeString(last.Header.Get(headerState))
	if err := errors.Join(err, err2); err != nil {
		return at, fmt.Errorf("unreadable chunk of a content: %w", err)
	}
	at.sequence = last.Sequence
	if first.Header.Get(headerOffset) != "0" {
		return at, nil
	}
	at.offset = begin + int64(len(last.Data))
	at.empty = len(last.Data) == 0
	return at, at.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(state)
}

// holding stores what is not stored yet of a content, while it is held, and returns its MD5.
func (s *Store) holding(ctx context.Context, from Source, holder string) ([]byte, error) {
	at, err := s.position(ctx, from.ID)
	if err != nil {
		return nil, err
	}
	if at.sequence != 0 && at.offset == 0 && !at.empty { // it has lost its beginning
		if err := s.clear(ctx, from.ID, holder); err != nil {
			return nil, err
		}
		at.sequence = 0
	}
	ctx, cancel := context.WithCancelCause(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		cancel(s.renew(ctx, from, holder))
	}()
	err = s.append(ctx, from, &at)
	cancel(nil)
	<-renewed
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return at.hash.Sum(nil), err
}

// renew prolongs the holding until ctx ends, or it is lost.
func (s *Store) renew(ctx context.Context, from Source, holder string) error {
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
		err := s.update(ctx, func(l ledger) error {
			done, err := l.hold(from.ID, holder, l.now.Add(s.o.HoldTime))
			if done {
				err = errBusy // somebody else has completed it
			}
			return err
		})
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errBusy):
			return fmt.Errorf("%w: %w", broker.ErrFenced, err)
		case err != nil:
			return err
		}
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
		if err != nil && (at.offset == began || errors.Is(err, broker.ErrFenced) || ctx.Err() != nil) {
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
	subject := s.subject(id)
	sequence, err := s.publisher.PublishSeq(ctx, subject, data,
		broker.Header(headerOffset, strconv.FormatInt(at.offset, 10)),
		broker.Header(headerState, base64.StdEncoding.EncodeToString(state)),
		broker.ExpectLast(subject, at.sequence))
	if err != nil {
		return err
	}
	at.sequence, at.offset = sequence, at.offset+int64(len(data))
	return nil
}
