package content

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"io"
	"math/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/broker/brokertest"
)

const chunkBytes = 1000

// shop is a store on a broker of its own.
type shop struct {
	*Store
	t *testing.T
}

func openShop(t *testing.T, b *broker.Broker, o Options) *shop {
	t.Helper()
	o.ChunkBytes = chunkBytes
	p := broker.NewPublisher(b, broker.PublisherOptions{})
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return &shop{New(b, p, o), t}
}

func always(context.Context, string, uint64) bool { return true }
func never(context.Context, string, uint64) bool  { return false }

func (s *shop) reserve(part string, wanted ...Wanted) {
	s.t.Helper()
	if err := s.Reserve(s.t.Context(), claimOf(part, "job"), wanted, time.Minute, always); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) readAll(id string, length int, sum []byte) ([]byte, error) {
	r := s.Open(s.t.Context(), id, int64(length), sum)
	defer r.Close() //nolint:errcheck // it only reads
	return io.ReadAll(r)
}

func (s *shop) chunks(id string) (n int) {
	s.t.Helper()
	for from := uint64(1); ; n++ {
		e, err := s.broker.Next(s.t.Context(), s.stream(), s.subject(id), from)
		if errors.Is(err, broker.ErrGone) {
			return n
		}
		if err != nil {
			s.t.Fatal(err)
		}
		from = e.Sequence + 1
	}
}

// origin is a source that counts what is read from it.
type origin struct {
	content []byte
	cutAt   int // a reading ends with an error there, once; 0 for never
	block   chan struct{}

	mu     sync.Mutex
	opened []int64
	read   int
}

func newOrigin(n int) *origin {
	o := &origin{content: make([]byte, n)}
	rand.New(rand.NewSource(int64(n))).Read(o.content)
	return o
}

var errCut = errors.New("cut")

func (o *origin) sum() []byte { s := md5.Sum(o.content); return s[:] }

func (o *origin) source(id string) Source {
	return Source{ID: id, Length: int64(len(o.content)), MD5: o.sum(), Open: o.open}
}

func (o *origin) open(ctx context.Context, offset int64) (io.ReadCloser, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened = append(o.opened, offset)
	return &reading{ctx: ctx, of: o, at: int(offset)}, nil
}

type reading struct {
	ctx context.Context
	of  *origin
	at  int
}

func (r *reading) Read(p []byte) (int, error) {
	o := r.of
	o.mu.Lock()
	block := o.block
	o.mu.Unlock()
	if block != nil && r.at > 2*chunkBytes {
		<-block
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	end := len(o.content)
	if o.cutAt > 0 {
		end = o.cutAt
	}
	if r.at >= end {
		if o.cutAt > 0 {
			o.cutAt = 0
			return 0, errCut
		}
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 300)], o.content[r.at:end])
	r.at += n
	o.read += n
	return n, nil
}

func (r *reading) Close() error { return nil }

func (s *shop) ensure(from Source) {
	s.t.Helper()
	if sum, err := s.Ensure(s.t.Context(), from); err != nil || !bytes.Equal(sum, from.MD5) {
		s.t.Fatalf("%x, %v", sum, err)
	}
}

func TestContentThatManyWantIsReadAndStoredOnce(t *testing.T) {
	b := brokertest.Start(t)
	o := newOrigin(5*chunkBytes + 10)
	id, n := "content", len(o.content)
	var group sync.WaitGroup
	for i := range 6 {
		s := openShop(t, b, Options{})
		s.reserve(string(rune('a'+i)), Wanted{id, int64(n)})
		group.Go(func() {
			if _, err := s.Ensure(t.Context(), o.source(id)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if len(o.opened) != 1 || o.read != n {
		t.Errorf("opened at %v, %d bytes read of %d", o.opened, o.read, n)
	}
	s := openShop(t, b, Options{})
	if c := s.chunks(id); c != 6 {
		t.Errorf("%d chunks", c)
	}
	got, err := s.readAll(id, n, o.sum())
	if err != nil || !bytes.Equal(got, o.content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestWhatBrokeOffIsGoneOnWithBehindTheLastChunk(t *testing.T) {
	s := openShop(t, brokertest.Start(t), Options{})
	o := newOrigin(5 * chunkBytes)
	o.cutAt = 2*chunkBytes + 500
	s.reserve("p", Wanted{"c", 5 * chunkBytes})
	s.ensure(o.source("c"))
	if !slices.Equal(o.opened, []int64{0, int64(2*chunkBytes + 500)}) || o.read != len(o.content) {
		t.Errorf("opened at %v, %d bytes read", o.opened, o.read)
	}
	if got, err := s.readAll("c", len(o.content), o.sum()); err != nil || !bytes.Equal(got, o.content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A fetcher that fails for good leaves what it has; the next one goes on from there.
func TestNextFetcherGoesOnBehindTheLastChunk(t *testing.T) {
	b := brokertest.Start(t)
	s := openShop(t, b, Options{})
	o := newOrigin(5 * chunkBytes)
	s.reserve("p", Wanted{"c", 5 * chunkBytes})
	broken := o.source("c")
	broken.Open = func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		if offset > 0 {
			return nil, errCut
		}
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(o.content[:3*chunkBytes])), io.NopCloser(nil)}, nil
	}
	if _, err := s.Ensure(t.Context(), broken); !errors.Is(err, errCut) {
		t.Fatalf("got %v", err)
	}
	openShop(t, b, Options{}).ensure(o.source("c"))
	if !slices.Equal(o.opened, []int64{3 * chunkBytes}) {
		t.Errorf("opened at %v", o.opened)
	}
}

// takeOver has one process stopped in the middle of a content and another store the rest; then
// the first wakes.
func takeOver(t *testing.T, stopped Options, check func(context.Context) error) (other *shop, o *origin) {
	t.Helper()
	b := brokertest.Start(t)
	first, other := openShop(t, b, stopped), openShop(t, b, Options{})
	o = newOrigin(6 * chunkBytes)
	wake := make(chan struct{})
	o.block = wake
	first.reserve("p", Wanted{"c", 6 * chunkBytes})
	from := o.source("c")
	from.Check = check
	var group sync.WaitGroup
	group.Go(func() {
		if _, err := first.Ensure(t.Context(), from); err != nil {
			t.Error(err)
		}
	})
	for first.chunks("c") < 2 {
		if err := await(t.Context(), time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	o.mu.Lock()
	o.block = nil
	o.mu.Unlock()
	// Time passes in which nothing is heard of it.
	if err := other.update(t.Context(), func(l ledger) error { l.find("c").HeldUntil = 1; return nil }); err != nil {
		t.Fatal(err)
	}
	other.ensure(o.source("c"))
	if stopped.HoldTime < time.Minute { // and as much of it passes
		if err := await(t.Context(), stopped.HoldTime); err != nil {
			t.Fatal(err)
		}
	}
	close(wake)
	group.Wait()
	return other, o
}

func TestStoppedFetcherThatWakesStoresNothing(t *testing.T) {
	// It cannot prolong its holding, which runs out long before it wakes.
	dead := func(ctx context.Context) error { <-ctx.Done(); return nil }
	other, o := takeOver(t, Options{HoldTime: 300 * time.Millisecond}, dead)
	if n := other.chunks("c"); n != 6 {
		t.Errorf("%d chunks", n)
	}
	if got, err := other.readAll("c", len(o.content), o.sum()); err != nil || !bytes.Equal(got, o.content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// One that was stopped between its look at the clock and what it stores: readers pass over that.
func TestWhatAStoppedFetcherStoresAllTheSameIsPassedOver(t *testing.T) {
	other, o := takeOver(t, Options{HoldTime: time.Hour}, nil)
	if n := other.chunks("c"); n <= 6 {
		t.Fatalf("%d chunks: nothing was stored twice", n)
	}
	if got, err := other.readAll("c", len(o.content), o.sum()); err != nil || !bytes.Equal(got, o.content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The newest chunk is one that was stored by a process that woke, and the content is further.
func TestContentIsGoneOnWithBehindTheFurthestChunk(t *testing.T) {
	s := openShop(t, brokertest.Start(t), Options{})
	o := newOrigin(6 * chunkBytes)
	s.reserve("p", Wanted{"c", 6 * chunkBytes})
	cut := o.source("c")
	cut.Open = func(_ context.Context, offset int64) (io.ReadCloser, error) {
		if offset > 0 {
			return nil, errCut
		}
		return io.NopCloser(bytes.NewReader(o.content[:4*chunkBytes])), nil
	}
	if _, err := s.Ensure(t.Context(), cut); !errors.Is(err, errCut) {
		t.Fatalf("got %v", err)
	}
	furthest, err := s.last(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.update(t.Context(), func(l ledger) error { l.reach("c", furthest.Sequence); return nil }); err != nil {
		t.Fatal(err)
	}
	second, err := s.broker.Next(t.Context(), s.stream(), s.subject("c"), furthest.Sequence-2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.publisher.PublishSeq(t.Context(), s.subject("c"), second.Data,
		broker.Header(headerOffset, second.Header.Get(headerOffset)), broker.Header(headerState, second.Header.Get(headerState))); err != nil {
		t.Fatal(err)
	}
	s.ensure(o.source("c"))
	if !slices.Equal(o.opened, []int64{4 * chunkBytes}) {
		t.Errorf("opened at %v", o.opened)
	}
	if got, err := s.readAll("c", len(o.content), o.sum()); err != nil || !bytes.Equal(got, o.content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestByteThatWasChangedOnItsWayIsReadAgain(t *testing.T) {
	s := openShop(t, brokertest.Start(t), Options{})
	o := newOrigin(3 * chunkBytes)
	s.reserve("p", Wanted{"c", 3 * chunkBytes})
	from := o.source("c")
	wrong := bytes.Clone(o.content)
	wrong[1500]++
	first := true
	from.Open = func(ctx context.Context, offset int64) (io.ReadCloser, error) {
		if first {
			first = false
			return io.NopCloser(bytes.NewReader(wrong)), nil
		}
		return o.open(ctx, offset)
	}
	s.ensure(from)
	if got, err := s.readAll("c", len(o.content), o.sum()); err != nil || !bytes.Equal(got, o.content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// What a server says a digest of may be something else; its bytes are what counts.
func TestContentThatComesTwiceWithTheSameBytesIsWhatItIs(t *testing.T) {
	s := openShop(t, brokertest.Start(t), Options{})
	o := newOrigin(3 * chunkBytes)
	s.reserve("p", Wanted{"c", 3 * chunkBytes})
	from := o.source("c")
	from.MD5 = bytes.Repeat([]byte{1}, md5.Size)
	if sum, err := s.Ensure(t.Context(), from); err != nil || !bytes.Equal(sum, o.sum()) {
		t.Errorf("%x, %v", sum, err)
	}
	if len(o.opened) != 2 {
		t.Errorf("opened at %v", o.opened)
	}
}

func TestReaderNoticesChunksThatAreGoneOrOthers(t *testing.T) {
	s := openShop(t, brokertest.Start(t), Options{})
	o := newOrigin(4 * chunkBytes)
	s.reserve("p", Wanted{"c", 4 * chunkBytes})
	s.ensure(o.source("c"))
	other := newOrigin(7).sum()
	if got, err := s.readAll("c", len(o.content), other); !errors.Is(err, broker.ErrGone) || len(got) >= len(o.content) {
		t.Errorf("of another digest: %d bytes, %v", len(got), err)
	}
	if _, err := s.readAll("c", len(o.content), o.sum()); !errors.Is(err, broker.ErrGone) {
		t.Errorf("what is not what it ought to be is kept: %v", err)
	}
	s.ensure(o.source("c")) // the ledger knows
	last, err := s.last(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.broker.Purge(t.Context(), s.stream(), s.subject("c"), last.Sequence-1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.readAll("c", len(o.content), o.sum()); !errors.Is(err, broker.ErrGone) {
		t.Errorf("without its beginning: %v", err)
	}
	s.ensure(o.source("c"))
	if got, err := s.readAll("c", len(o.content), o.sum()); err != nil || !bytes.Equal(got, o.content) {
		t.Errorf("stored anew: %d bytes, %v", len(got), err)
	}
}

func TestWhatIsStoredNeverExceedsTheCapacity(t *testing.T) {
	s := openShop(t, brokertest.Start(t), Options{Capacity: 10 * chunkBytes})
	for i := range 5 {
		id := string(rune('a' + i))
		o := newOrigin(4*chunkBytes + i)
		s.reserve(id, Wanted{id, int64(len(o.content))})
		s.ensure(o.source(id))
		if err := s.Release(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		stream, err := s.broker.JetStream().Stream(t.Context(), s.stream())
		if err != nil {
			t.Fatal(err)
		}
		if n := stream.CachedInfo().State.Msgs; n > 10 {
			t.Errorf("%d chunks are stored", n)
		}
	}
	if err := s.Reserve(t.Context(), claimOf("p", "job"), []Wanted{{"x", 10*chunkBytes + 1}}, 0, always); !errors.Is(err, ErrTooLarge) {
		t.Errorf("more than there is: %v", err)
	}
}

func TestWhatRunsThatAreOverNeededIsFree(t *testing.T) {
	s := openShop(t, brokertest.Start(t), Options{Capacity: 10})
	s.reserve("old", Wanted{"a", 10})
	if err := s.Reserve(t.Context(), claimOf("new", "job"), []Wanted{{"b", 10}}, 0, always); !errors.Is(err, ErrNoRoom) {
		t.Errorf("while the run is under way: %v", err)
	}
	if err := s.Reserve(t.Context(), claimOf("new", "job"), []Wanted{{"b", 10}}, 0, never); err != nil {
		t.Error(err)
	}
}

func TestEmptyContentIsContent(t *testing.T) {
	s := openShop(t, brokertest.Start(t), Options{})
	o := newOrigin(0)
	s.reserve("p", Wanted{"c", 0})
	s.ensure(o.source("c"))
	s.ensure(o.source("c"))
	if got, err := s.readAll("c", 0, o.sum()); err != nil || len(got) != 0 {
		t.Errorf("%q, %v", got, err)
	}
}
