package fetcher

import (
	"context"
	"sync"
	"time"

	"millrace/pkg/broker"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/doc-fetcher/bodies"
)

const (
	// aloneMemory is what the index keeps of a feed that has one job: enough for another one that
	// is about to join, and nothing to speak of (some 3,000 revisions).
	aloneMemory = 1 << 20
	// lookInterval is how often it is looked at what BODIES has dropped. What was dropped since is
	// noticed by whoever wants to write it, and asked for again.
	lookInterval = time.Second
	// expireInterval is how often what is too old is forgotten, in feeds where nothing happens.
	expireInterval = time.Minute
)

// stock is what this process knows of BODIES.
type stock struct {
	broker *broker.Broker
	index  *bodies.Index

	mu   sync.Mutex
	look time.Time // when BODIES is to be looked at next
}

func newStock(b *broker.Broker, memory int64) *stock {
	return &stock{broker: b, index: bodies.New(bodies.Options{Memory: memory, Age: b.Limits().BodiesAge})}
}

// sharing is how the batch shares what it fetches; nil where its feed has no other jobs.
func (svc *Service) sharing(ctx context.Context, at *millracev1.Position) *sharing {
	if at.GetReplay() != "" {
		return nil
	}
	feed, _, err := svc.feeds.At(ctx, at.Feed, 0)
	if err != nil || len(feed.Roster) < 2 && feed.Key == "" {
		return nil // without it all is fetched
	}
	out := &sharing{index: svc.stock.index, feed: at.Feed}
	if len(feed.Roster) < 2 {
		out.limit = aloneMemory
		return out
	}
	svc.stock.lookAgain(ctx)
	return out
}

// lookAgain looks what BODIES has dropped, if that is due.
func (s *stock) lookAgain(ctx context.Context) {
	s.mu.Lock()
	due := !time.Now().Before(s.look)
	if due {
		s.look = time.Now().Add(lookInterval)
	}
	s.mu.Unlock()
	if !due {
		return
	}
	// A failure is no harm: what is referred to and gone is asked for again.
	if oldest, err := s.broker.Oldest(ctx, s.broker.Streams().Bodies); err == nil {
		s.index.Gone(oldest)
	}
}

// changed forgets feeds that are no more.
func (s *stock) changed(id string, feed *millracev1.Feed) {
	if feed == nil {
		s.index.Drop(id)
	}
}

// expire forgets what is too old, until ctx ends.
func (s *stock) expire(ctx context.Context) error {
	ticker := time.NewTicker(expireInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			s.index.Expire()
		case <-ctx.Done():
			return nil
		}
	}
}
