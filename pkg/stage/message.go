package stage

import (
	"context"
	"fmt"
	"strconv"

	"github.com/ThreeDotsLabs/watermill/message"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

// Version is the major version of the pipeline's messages. A stage that meets
// another one hands the message back with a delay: during a rolling upgrade an
// instance that knows it is there, or will be.
const Version = 1

// versionKey is the header that carries the version.
const versionKey = "Millrace-Version"

// NewMessage returns a message with its version and the trace of ctx. The id
// makes publishing it twice the same as once.
func NewMessage(ctx context.Context, id string, m proto.Message) (*message.Message, error) {
	payload, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	msg := message.NewMessage(id, payload)
	msg.Metadata.Set(versionKey, strconv.Itoa(Version))
	telemetry.Inject(ctx, msg.Metadata)
	msg.SetContext(ctx)
	return msg, nil
}

// BatchID is a message id of what there is one of per batch and job. It has the
// epoch: batch 17 of two owners of a feed is not the same batch.
func BatchID(p *millracev1.Position) string {
	if p.GetReplay() != "" {
		return fmt.Sprintf("%s.replay.%s.%d", p.GetJob(), p.GetReplay(), p.GetOrdinal())
	}
	return fmt.Sprintf("%s.%d.%s.%d.%d", p.GetJob(), p.GetRun(), p.GetFeed(), p.GetEpoch(), p.GetOrdinal())
}

// PartID is a message id of what there is one of per part of a batch.
func PartID(p *millracev1.Position, part *millracev1.Part) string {
	return fmt.Sprintf("%s.%s.%d", BatchID(p), part.GetAttempt(), part.GetNumber())
}

// Publish publishes a message and returns when the broker has it. It waits while
// the subject is full, until ctx ends.
func (s *Stage) Publish(ctx context.Context, subject, id string, m proto.Message) error {
	msg, err := NewMessage(ctx, id, m)
	if err != nil {
		return err
	}
	return s.publisher.Publish(subject, msg)
}

// Try is [Stage.Publish] for a stage that serves several jobs: the error is
// [broker.ErrSubjectFull], at once, when the job has no room.
func (s *Stage) Try(ctx context.Context, subject, id string, m proto.Message) error {
	msg, err := NewMessage(ctx, id, m)
	if err != nil {
		return err
	}
	_, err = s.publisher.TryPublish(ctx, subject, msg.Payload, append(Headers(msg), broker.MsgID(id))...)
	return err
}

// Headers are the message's metadata, for the ways of publishing that are not Watermill's.
func Headers(msg *message.Message) []broker.PublishOption {
	var options []broker.PublishOption
	for key, value := range msg.Metadata {
		options = append(options, broker.Header(key, value))
	}
	return options
}
