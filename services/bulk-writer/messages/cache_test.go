package messages

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reader counts readings; each message is ten bytes.
type reader map[Key]int

func (r reader) get(t *testing.T, c *Cache, sequence uint64, id string) {
	t.Helper()
	key := Key{sequence, id}
	docs, err := c.Get(t.Context(), key, func(context.Context) ([]byte, error) {
		r[key]++
		return []byte(strings.Repeat(id, 10)), nil
	})
	if err != nil || string(docs) != strings.Repeat(id, 10) {
		t.Fatalf("%v: %q, %v", key, docs, err)
	}
}

func TestMessagesAreReadOnceWhileTheyHaveRoom(t *testing.T) {
	c, r := New(50), reader{}
	for sequence := range uint64(5) {
		r.get(t, c, sequence, "a")
	}
	r.get(t, c, 0, "a") // used last
	r.get(t, c, 5, "a") // in place of 1
	r.get(t, c, 0, "a")
	r.get(t, c, 1, "a") // in place of 2
	r.get(t, c, 0, "b") // another message, in place of 3
	for key, want := range map[Key]int{{0, "a"}: 1, {1, "a"}: 2, {2, "a"}: 1, {3, "a"}: 1, {5, "a"}: 1, {0, "b"}: 1} {
		if r[key] != want {
			t.Errorf("%v was read %d times, not %d", key, r[key], want)
		}
	}
	if c.Memory() != 50 || len(c.known) != 5 {
		t.Errorf("%d bytes of %d messages", c.Memory(), len(c.known))
	}
}

func TestMessageThatWouldTakeThePlaceOfManyIsNotKept(t *testing.T) {
	c, r := New(39), reader{}
	r.get(t, c, 1, "a")
	r.get(t, c, 1, "a")
	if c.Memory() != 0 || r[Key{1, "a"}] != 2 {
		t.Errorf("%d bytes kept, read %d times", c.Memory(), r[Key{1, "a"}])
	}
}

func TestMessageThatIsBeingReadIsWaitedFor(t *testing.T) {
	gone := errors.New("gone")
	for name, want := range map[string]error{"read": nil, "failed": gone} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, readings := New(0), 0
				var group sync.WaitGroup
				for range 50 {
					group.Go(func() {
						docs, err := c.Get(t.Context(), Key{1, "a"}, func(context.Context) ([]byte, error) {
							readings++
							time.Sleep(time.Second) // of the bubble: until all wait
							return []byte("a"), want
						})
						if !errors.Is(err, want) || string(docs) != "a" {
							t.Errorf("%q, %v", docs, err)
						}
					})
				}
				group.Wait()
				if readings != 1 {
					t.Errorf("read %d times", readings)
				}
			})
		})
	}
}

// A job that ends while it reads for others ends none of them.
func TestReadingThatIsGivenUpIsTakenOverByWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(0)
		ending, end := context.WithCancel(t.Context())
		defer end()
		var group sync.WaitGroup
		group.Go(func() {
			_, err := c.Get(ending, Key{1, "a"}, func(ctx context.Context) ([]byte, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("who gave up has %v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			group.Go(func() {
				docs, err := c.Get(t.Context(), Key{1, "a"}, func(context.Context) ([]byte, error) { return []byte("a"), nil })
				if err != nil || string(docs) != "a" {
					t.Errorf("who waits has %q, %v", docs, err)
				}
			})
		}
		synctest.Wait()
		end()
		group.Wait()
	})
}

func TestWhoeverWaitsEndsWithItsOwnContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(0)
		slow := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			_, _ = c.Get(t.Context(), Key{1, "a"}, func(context.Context) ([]byte, error) { <-slow; return nil, nil })
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Get(ctx, Key{1, "a"}, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		close(slow)
		group.Wait()
	})
}

func TestWhatNobodyAsksForIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := New(0), reader{}
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _ = c.Expire(ctx) })
		r.get(t, c, 1, "a")
		r.get(t, c, 2, "a")
		time.Sleep(idleTime - time.Second)
		r.get(t, c, 1, "a")
		time.Sleep(idleTime/2 + 2*time.Second)
		if c.Memory() != 10 {
			t.Errorf("%d bytes kept", c.Memory())
		}
		r.get(t, c, 1, "a")
		time.Sleep(2 * idleTime)
		if c.Memory() != 0 || r[Key{1, "a"}] != 1 {
			t.Errorf("%d bytes kept, read %d times", c.Memory(), r[Key{1, "a"}])
		}
		cancel()
		group.Wait()
	})
}
