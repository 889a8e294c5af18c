package broker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/semaphore"
)

// PublisherOptions bounds what a publisher has on its way.
type PublisherOptions struct {
	// WindowBytes is how many bytes may be sent and not yet acknowledged, all
	// calls together; publishing waits there (invariant 5). 0 means 16 MiB.
	// Across a region take at least bandwidth times round trip.
	WindowBytes int64
	// InFlightPerSubject is how many messages to one subject may be on their
	// way; 0 means what the subject can hold, where it is bounded.
	InFlightPerSubject int
}

// Publisher publishes to JetStream and waits for the acknowledgement. A message
// that is refused because its subject is full, or whose outcome is unknown, is
// sent again until the broker has it or its context ends: it is never lost and
// never an error that passes by itself. The broker drops repetitions by the
// message's id.
//
// It is Watermill's message.Publisher, with the subject as the topic, and safe
// for concurrent use.
type Publisher struct {
	b        *Broker
	options  PublisherOptions
	window   *semaphore.Weighted
	slots    slots
	closing  context.Context // ends when what is on its way is given up
	cancel   context.CancelCauseFunc
	inFlight sync.WaitGroup
	mu       sync.RWMutex
	closed   bool
}

const (
	// bigMessage is the size from which a refused message is not sent again
	// before the subject was asked whether it has room.
	bigMessage = 16 * kib

	defaultWindow = 16 * mib
	closeTimeout  = 30 * time.Second
)

// NewPublisher returns a publisher on b's connection. Close it before b.
func NewPublisher(b *Broker, o PublisherOptions) *Publisher {
	o.WindowBytes = orDefault(o.WindowBytes, defaultWindow)
	closing, cancel := context.WithCancelCause(context.Background())
	return &Publisher{
		b:       b,
		options: o,
		window:  semaphore.NewWeighted(o.WindowBytes),
		closing: closing,
		cancel:  cancel,
	}
}

// Publish publishes messages to a subject, in their order, and returns when the
// broker has them all. Each is tried until its own context ends. Metadata
// becomes headers; the id for de-duplication is the metadata "Nats-Msg-Id", or
// else made of the message's UUID and the subject. After an error the messages before it may have been
// published, and those after it as well.
func (p *Publisher) Publish(subject string, messages ...*message.Message) error {
	var futures []*Future
	var failed error
	for _, m := range messages {
		f, err := p.start(m.Context(), fromWatermill(subject, m))
		if err != nil {
			failed = err
			break
		}
		futures = append(futures, f)
	}
	for _, f := range futures {
		if _, err := f.Wait(context.Background()); err != nil && failed == nil {
			failed = err
		}
	}
	return failed
}

// PublishSeq publishes one message and returns its stream sequence. The errors
// are those of ctx, [ErrFenced] with [ExpectLast], [ErrRefused] and [ErrClosed].
func (p *Publisher) PublishSeq(ctx context.Context, subject string, payload []byte, options ...PublishOption) (uint64, error) {
	f, err := p.PublishAsync(ctx, subject, payload, options...)
	if err != nil {
		return 0, err
	}
	return f.Wait(context.Background()) // ends with ctx, by itself
}

// PublishAsync sends one message and returns at once, except that it waits while
// the window or the subject is full. payload must not be changed before the
// future is done. Messages are first sent in the order of the calls; one that
// has to be sent again comes later.
func (p *Publisher) PublishAsync(ctx context.Context, subject string, payload []byte, options ...PublishOption) (*Future, error) {
	return p.start(ctx, newMessage(subject, payload, options))
}

// TryPublish is PublishSeq for whoever serves several subjects and must not wait
// for one of them: when the subject is full the error is [ErrSubjectFull], at
// once, and nothing was published. It asks before it sends anything big.
func (p *Publisher) TryPublish(ctx context.Context, subject string, payload []byte, options ...PublishOption) (uint64, error) {
	if err := p.enter(); err != nil {
		return 0, err
	}
	defer p.inFlight.Done()
	ctx, cancel := p.bind(ctx)
	defer cancel()
	t, err := p.slots.tryAcquire(ctx, subject, p.limit(subject))
	if err != nil {
		return 0, abandoned(ctx, subject, err)
	}
	m := newMessage(subject, payload, options)
	if wireSize(m) >= bigMessage && !p.b.hasRoom(ctx, subject) {
		t.leave(false)
		return 0, fmt.Errorf("publish to %s: %w", subject, ErrSubjectFull)
	}
	d := p.newDelivery(m, t)
	d.hasty = true
	ack, err := d.begin(ctx)
	d.finish(ctx, ack, err)
	return d.future.Wait(context.Background())
}

// Close waits until everything on its way is acknowledged or given up by its
// context, and refuses what comes after. What the broker has not taken after
// half a minute is given up; whoever published it gets [ErrClosed].
func (p *Publisher) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	timer := time.AfterFunc(closeTimeout, func() { p.cancel(ErrClosed) })
	defer timer.Stop()
	p.inFlight.Wait()
	p.cancel(ErrClosed)
	return nil
}

// enter counts a message as taken on; whoever enters calls inFlight.Done.
func (p *Publisher) enter() error {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.closed {
		return fmt.Errorf("publisher: %w", ErrClosed)
	}
	p.inFlight.Add(1)
	return nil
}

// bind derives a context that ends with the publisher, too.
func (p *Publisher) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.closing, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// start sends a message for the first time and leaves the rest to a goroutine of
// its own.
func (p *Publisher) start(ctx context.Context, m *nats.Msg) (*Future, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	ctx, cancel := p.bind(ctx)
	leave := func() { cancel(); p.inFlight.Done() }
	t, err := p.slots.acquire(ctx, m.Subject, p.limit(m.Subject))
	if err != nil {
		err = abandoned(ctx, m.Subject, err)
		leave()
		return nil, err
	}
	d := p.newDelivery(m, t)
	ack, err := d.begin(ctx)
	go func() {
		defer leave()
		d.finish(ctx, ack, err)
	}()
	return d.future, nil
}

func (p *Publisher) limit(subject string) int {
	if p.options.InFlightPerSubject > 0 {
		return p.options.InFlightPerSubject
	}
	return p.b.perSubject(subject)
}

// fromWatermill is the message that goes to the broker. What a [Subscriber] told
// about a message's delivery does not go on with it.
func fromWatermill(subject string, m *message.Message) *nats.Msg {
	header := make(nats.Header, len(m.Metadata)+2)
	for key, value := range m.Metadata {
		header[key] = []string{value}
	}
	for _, key := range deliveryMetadata {
		delete(header, key)
	}
	header.Set(HeaderMessageID, m.UUID)
	if header.Get(jetstream.MsgIDHeader) == "" {
		// The broker looks for repetitions in the whole stream: one message to
		// two subjects is two.
		header.Set(jetstream.MsgIDHeader, m.UUID+"@"+subject)
	}
	return &nats.Msg{Subject: subject, Header: header, Data: m.Payload}
}

// newMessage gives every message an id: without one an attempt whose outcome is
// unknown could not be repeated.
func newMessage(subject string, payload []byte, options []PublishOption) *nats.Msg {
	header := nats.Header{}
	for _, option := range options {
		option(header)
	}
	if header.Get(jetstream.MsgIDHeader) == "" {
		header.Set(jetstream.MsgIDHeader, nuid.Next())
	}
	return &nats.Msg{Subject: subject, Header: header, Data: payload}
}
