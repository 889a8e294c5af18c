package stage

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

// ErrOver says that a message belongs to a run that is over, or to a job or feed that
// is no more. It is dropped: what it asks for is done elsewhere, or by nobody.
var ErrOver = errors.New("the run is over")

// Input says which messages a handler gets.
type Input struct {
	// Stream and Filter select them.
	Stream, Filter string
	// Durable names the consumer that all instances of the stage share.
	Durable string
	// InFlight messages are handled at once. Of one job or feed there are never more than
	// the stage's PerJob, so that a slow one does not hold up the others.
	InFlight int
	// Crowd is how many are handled at once when many jobs have some, so that those whose handlers
	// wait, for room further on or for a database that does not answer, do not keep the others out: the more
	// places are taken, the fewer a job gets. It bounds memory. Default InFlight.
	Crowd int
	// Workers is what a job says its PerJob is, its worker_processes; 0 when it does not.
	// Only for streams whose subjects are those of jobs, and nil otherwise. It must not block.
	Workers func(job string) int
	// Waiting is how many messages of one job or feed wait here beside those being
	// handled; more are put back and come again later, after newer ones. 0 means as many
	// as a job's subject may hold, so that none is put back. A stream whose subjects are
	// not bounded needs a number that its producer keeps to.
	Waiting int
	// InOrder handles one message of a job or feed at a time.
	InOrder bool
}

// ackWait is how long the messages of an instance that died wait for another one.
// It is about how long a dead owner's lease lasts: nobody gains if a job has an owner
// again while its batches still lie with the dead. An instance that is stopped for
// longer than that and wakes does its work a second time, which is no harm (invariant 2).
const ackWait = 10 * time.Second

// positioned is a message that belongs to a run.
type positioned interface {
	GetPosition() *millracev1.Position
}

// Consume registers a handler of messages of type M. A handler that returns nil
// or [ErrOver] is done with the message; with any other error it gets it again, later.
func Consume[M any, P interface {
	*M
	proto.Message
}](s *Stage, in Input, handle func(ctx context.Context, m P) error) error {
	perSubject := s.perJob
	if in.InOrder {
		perSubject = 1
	}
	var bound func(subject string) int
	if in.Workers != nil {
		bound = func(subject string) int { return in.Workers(s.broker.Subjects().Job(subject)) }
	}
	sub, err := broker.NewSubscriber(s.broker, broker.SubscriberOptions{
		Durable: in.Durable, Stream: in.Stream, Filter: []string{in.Filter},
		InFlight: max(in.InFlight, perSubject), Crowd: in.Crowd, PerSubject: perSubject, Bound: bound, QueuePerSubject: in.Waiting,
		AckWait: ackWait,
	})
	if err != nil {
		return fmt.Errorf("stage %s: %w", s.name, err)
	}
	s.subs = append(s.subs, sub)
	s.router.AddConsumerHandler(in.Durable, in.Filter, subscriber{sub}, func(msg *message.Message) error {
		if msg.Metadata.Get(broker.MetaClaimLost) != "" {
			s.log.ErrorContext(msg.Context(), "the content of a large message is lost; its run will notice",
				"subject", msg.Metadata.Get(broker.MetaSubject))
			return nil
		}
		if v := msg.Metadata.Get(versionKey); v != strconv.Itoa(Version) {
			return fmt.Errorf("message of version %q, which this program does not know", v)
		}
		m := P(new(M))
		if err := proto.Unmarshal(msg.Payload, m); err != nil {
			// It will not decode the next time either, but it is evidence, and the
			// run it belongs to notices that it is lost.
			return fmt.Errorf("decode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
		}
		return handle(scoped(withDelivery(msg.Context(), msg), m), m)
	})
	return nil
}

type deliveryKey struct{}

// delivery is what a handler may ask about the message that it was called with.
type delivery struct{ sequence, count uint64 }

func withDelivery(ctx context.Context, msg *message.Message) context.Context {
	var d delivery
	// The subscriber wrote both.
	d.sequence, _ = strconv.ParseUint(msg.Metadata.Get(broker.MetaSequence), 10, 64)
	d.count, _ = strconv.ParseUint(msg.Metadata.Get(broker.MetaDelivered), 10, 64)
	return context.WithValue(ctx, deliveryKey{}, d)
}

// Sequence is the stream sequence of the message that a handler was called with.
// It makes ids that are the same at every delivery, and differ between messages.
func Sequence(ctx context.Context) uint64 {
	d, _ := ctx.Value(deliveryKey{}).(delivery)
	return d.sequence
}

// deliveries is how often the message that a handler was called with was delivered, this
// time included; 0 outside of a handler.
func deliveries(ctx context.Context) uint64 {
	d, _ := ctx.Value(deliveryKey{}).(delivery)
	return d.count
}

// scoped says in ctx what the message is about, for spans and log lines.
func scoped(ctx context.Context, m proto.Message) context.Context {
	p, ok := m.(positioned)
	if !ok {
		return ctx
	}
	at := p.GetPosition()
	return telemetry.WithScope(ctx, telemetry.Scope{
		Job: at.GetJob(), Run: at.GetRun(), Feed: at.GetFeed(), Epoch: at.GetEpoch(), Ordinal: at.GetOrdinal(),
	})
}

// settle decides what becomes of a message after its handler.
func (s *Stage) settle(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		out, err := next(msg)
		switch {
		case err == nil:
		case errors.Is(err, ErrOver):
			return nil, nil
		case msg.Context().Err() != nil: // shutting down: somebody else gets it
		default:
			s.log.WarnContext(msg.Context(), "message handed back", "error", err)
		}
		return out, err
	}
}
