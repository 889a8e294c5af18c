package content

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"hash"
	"io"

	"millrace/pkg/broker"
)

// Open reads a content that is stored, as a stream: the chunk that is read from and the one
// behind it are in memory (invariant 5). It fails with [broker.ErrGone] where a chunk is
// there no more, and also where the bytes have another MD5 than sum, before the last of them
// are handed out: whoever sends them on has not sent all then. The caller closes the result.
func (s *Store) Open(ctx context.Context, id string, length int64, sum []byte) io.ReadCloser {
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{ctx: ctx, cancel: cancel, store: s, id: id, length: length, sum: sum, hash: md5.New()}
	r.fetch(1)
	return r
}

// reader is one reading of a content. It lives as long as the request that it is the body of,
// whose context it keeps.
type reader struct {
	ctx    context.Context
	cancel context.CancelFunc
	store  *Store
	id     string
	length int64
	sum    []byte

	hash   hash.Hash
	rest   []byte
	taken  int64 // bytes of the chunks that were taken
	coming chan fetched
	err    error
}

type fetched struct {
	entry broker.Entry
	err   error
}

// fetch has the first chunk at or behind a sequence come.
func (r *reader) fetch(from uint64) {
	coming := make(chan fetched, 1)
	r.coming = coming
	go func() {
		e, err := r.store.broker.Next(r.ctx, r.store.stream(), r.store.subject(r.id), from)
		coming <- fetched{e, err}
	}()
}

// Read implements [io.Reader].
func (r *reader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.err = r.next()
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	if n > 0 {
		return n, nil
	}
	return 0, r.err
}

// next takes the chunk that comes, and has the one behind it come.
func (r *reader) next() error {
	if r.taken == r.length {
		return io.EOF
	}
	f := <-r.coming
	r.coming = nil
	if f.err != nil {
		return fmt.Errorf("read content: %w", f.err)
	}
	at, err := offsetOf(f.entry)
	if err != nil {
		return err
	}
	data := f.entry.Data
	switch end := at + int64(len(data)); {
	case at > r.taken:
		return fmt.Errorf("read content: %d bytes are missing before byte %d of %d: %w", at-r.taken, at, r.length, broker.ErrGone)
	case end <= r.taken: // of a process that was stopped and woke: it had been stored meanwhile
		data = nil
	default:
		data = data[r.taken-at:]
	}
	r.taken += int64(len(data))
	r.hash.Write(data)
	if r.taken < r.length {
		r.fetch(f.entry.Sequence + 1)
	} else if err := r.check(); err != nil {
		return err
	}
	r.rest = data
	return nil
}

// check compares all that was read with what it ought to be.
func (r *reader) check() error {
	if r.taken == r.length && bytes.Equal(r.hash.Sum(nil), r.sum) {
		return nil
	}
	err := fmt.Errorf("read content: its bytes are not those that were stored: %w", broker.ErrGone)
	return errors.Join(err, r.store.spoil(r.ctx, r.id))
}

// spoil removes a content that is not what it ought to be; whoever needs it has it stored anew.
func (s *Store) spoil(ctx context.Context, id string) error {
	last, err := s.last(ctx, id)
	if err != nil {
		return err
	}
	if err := s.update(ctx, func(l ledger) error { l.reopen(id); return nil }); err != nil {
		return err
	}
	return s.broker.Purge(ctx, s.stream(), s.subject(id), last.Sequence+1)
}

// Close ends the reading.
func (r *reader) Close() error {
	r.cancel()
	if r.coming != nil {
		<-r.coming
		r.coming = nil
	}
	return nil
}
