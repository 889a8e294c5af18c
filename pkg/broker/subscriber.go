package broker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Metadata of a message that came from a [Subscriber], beside its headers.
const (
	// MetaSequence is the message's stream sequence.
	MetaSequence = "Millrace-Sequence"
	// MetaSubject is the subject it was published to.
	MetaSubject = "Millrace-Subject"
	// MetaDelivered counts how often it was delivered, this time included. It
	// counts deliveries that no handler saw as well (the subject's queue was
	// full, a process ended), so it is no count of failures.
	MetaDelivered = "Millrace-Delivered"
	// MetaPublished is when the broker took it, in RFC 3339 with nanoseconds.
	MetaPublished = "Millrace-Published"
	// MetaClaimLost is "true" on a large message whose content is gone
	// ([ErrClaimLost]). The payload is empty; the headers are there. Such a
	// message is handed over, not dropped: only the stage knows whose batch it
	// was and can say so (invariant 1).
	MetaClaimLost = "Millrace-Claim-Lost"
)

// deliveryMetadata is about one delivery of a message and not the message.
var deliveryMetadata = []string{MetaSequence, MetaSubject, MetaDelivered, MetaPublished, MetaClaimLost}

// SubscriberOptions says how a stage consumes. The zero value of a field means
// its default.
type SubscriberOptions struct {
	// Durable names the consumer in the stream. All instances of a stage share
	// one and its work. Required; a site's name belongs in it where there are
	// several.
	Durable string
	// Stream to consume; by default the one that has the topic.
	Stream string
	// Filter is the subjects to consume. By default the topic of each Subscribe,
	// which then has a consumer of its own, named after Durable and topic.
	Filter []string
	// InFlight is how many messages are handled at once. Default 16.
	InFlight int
	// Crowd is how many messages of many subjects are handled at once. Above InFlight a subject gets its
	// first place while fewer than Crowd messages are being handled, its second while fewer than half as many are,
	// and so on: subjects whose handlers stand still do not keep the others out. It bounds memory, where
	// InFlight says how much work is done at once. Default InFlight, and never below it.
	Crowd int
	// PerSubject is how many of one subject are handled at once. Default 4,
	// never above InFlight. With 1, a subject's messages are handled in order,
	// except those that come again: they were refused, or found no room here.
	PerSubject int
	// Bound is PerSubject for subjects that have a bound of their own, and 0 for
	// those that have none. It must not block. Default: none has.
	Bound func(subject string) int
	// QueuePerSubject is how many messages of one subject wait here beside those
	// being handled; more are put back with a delay. By default as many as a
	// bounded subject can hold. When room is scarce, subjects get less.
	QueuePerSubject int
	// PullMaxMessages is how many messages are held here in all, waiting and
	// being handled. Default 512, never below Crowd.
	PullMaxMessages int
	// PullMaxBytes bounds what is pulled ahead. Default 16 MiB. The sum over all
	// subscribers of a connection must stay below the server's max_pending
	// (64 MiB by default), or the server cuts the connection.
	PullMaxBytes int
	// MaxAckPending bounds what all instances together have taken and not
	// acknowledged. Default: no limit, because the messages that a slow subject
	// has put back count as well, and would keep out all the others.
	MaxAckPending int
	// AckWait is after how long the broker gives the messages of a dead process
	// to another. Default 30 seconds. Messages here are reported as in progress
	// for as long as it takes.
	AckWait time.Duration
	// NakDelay and NakDelayMax say when a message whose handling failed comes
	// back: after NakDelay, doubled with each delivery. Defaults 200 ms and 30 s.
	NakDelay, NakDelayMax time.Duration
	// DrainTimeout is how long Close waits for handlers. Default 30 seconds.
	DrainTimeout time.Duration
	// AckSync waits for the broker's word that an acknowledgement has arrived.
	// Without it a lost one means that the message is handled twice, which every
	// stage can bear (invariant 2).
	AckSync bool
}

func (o SubscriberOptions) withDefaults(perSubject int) SubscriberOptions {
	o.InFlight = orDefault(o.InFlight, 16)
	o.Crowd = max(o.Crowd, o.InFlight)
	o.PerSubject = min(orDefault(o.PerSubject, 4), o.InFlight)
	o.QueuePerSubject = orDefault(o.QueuePerSubject, perSubject)
	o.PullMaxMessages = max(orDefault(o.PullMaxMessages, 512), o.Crowd)
	o.PullMaxBytes = orDefault(o.PullMaxBytes, 16*mib)
	o.MaxAckPending = orDefault(o.MaxAckPending, -1)
	o.AckWait = orDefault(o.AckWait, 30*time.Second)
	o.NakDelay = orDefault(o.NakDelay, 200*time.Millisecond)
	o.NakDelayMax = orDefault(o.NakDelayMax, 30*time.Second)
	o.DrainTimeout = orDefault(o.DrainTimeout, 30*time.Second)
	return o
}

// nakDelay is when a message should come back that was delivered so many times.
func (o SubscriberOptions) nakDelay(delivered uint64) time.Duration {
	return growing(o.NakDelay, o.NakDelayMax, delivered)
}

// growing doubles first with every delivery after the first, up to limit, and
// takes off up to a third so that what failed together does not come back
// together.
func growing(first, limit time.Duration, delivered uint64) time.Duration {
	delay := first
	for range delivered - min(delivered, 1) {
		if delay *= 2; delay >= limit {
			delay = limit
			break
		}
	}
	return delay - rand.N(delay/3+1)
}

// Subscriber consumes a stage's work and deals it to handlers: a queue for each
// subject, one message of each in turn. Messages that wait or are being handled
// are reported as in progress. It survives the loss of the connection, of the
// server and of its consumer.
//
// It is Watermill's message.Subscriber; the topic is a subject, wildcards
// included. It is safe for concurrent use.
type Subscriber struct {
	b       *Broker
	options SubscriberOptions
	closing context.Context
	close   context.CancelFunc

	mu            sync.Mutex
	closed        bool
	subscriptions sync.WaitGroup
}

// NewSubscriber returns a subscriber on b's connection. Close it before b.
func NewSubscriber(b *Broker, o SubscriberOptions) (*Subscriber, error) {
	if !namespacePattern.MatchString(o.Durable) {
		return nil, fmt.Errorf("subscriber: durable %q: only letters, digits, - and _", o.Durable)
	}
	s := &Subscriber{b: b, options: o.withDefaults(b.Limits().PerSubject)}
	s.closing, s.close = context.WithCancel(context.Background())
	return s, nil
}

// Subscribe starts to consume. The channel is closed after ctx ended or the
// subscriber was closed, and the messages being handled are finished or given
// up. A message that was sent on it and is neither acknowledged nor refused
// within DrainTimeout of that is given up: its context ends and the broker
// delivers it again.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	// Not under the lock: while the broker is away this takes long, and Close must end it.
	creating, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	sub := newSubscription(ctx, s, topic)
	err := sub.ensureConsumer(creating)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		err = ErrClosed
	}
	if err != nil {
		sub.stop()
		sub.abandon()
		return nil, fmt.Errorf("subscribe to %s: %w", topic, err)
	}
	s.subscriptions.Add(1)
	go func() {
		defer s.subscriptions.Done()
		sub.run()
	}()
	return sub.out, nil
}

// Close stops pulling, waits up to DrainTimeout for messages being handled, and
// gives everything else back to the broker.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.close()
	s.subscriptions.Wait()
	return nil
}
