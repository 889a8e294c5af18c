package telemetry

import (
	"context"
	"strings"

	"github.com/ThreeDotsLabs/watermill/message"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// traceparent is the key of W3C Trace Context in a message's metadata, which
// becomes a header of the broker's message under the same name.
const traceparent = "traceparent"

// Inject writes the trace of ctx into metadata (a message.Metadata, or any map
// that is not nil) as W3C Trace Context, for the consumer to continue. A
// context without a trace writes nothing.
func Inject(ctx context.Context, metadata map[string]string) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return
	}
	propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(metadata))
}

// Extract returns ctx with the trace that metadata carries. Without one, or
// with one that does not parse, it returns ctx itself.
func Extract(ctx context.Context, metadata map[string]string) context.Context {
	if metadata[traceparent] == "" {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier(metadata))
}

// Trace is a middleware for Watermill's Router: it continues the trace that the
// message carries with a consumer span named spanName, which covers the
// handler. The handler finds the span in the message's context; its error, or
// its panic, is recorded; and messages that it returns carry the trace on.
//
// With a tracer that makes no spans (see [Disabled]) an incoming trace is still
// passed through, so that one service without tracing does not cut it in two.
func Trace(tracer trace.Tracer, spanName string) message.HandlerMiddleware {
	if _, off := tracer.(noop.Tracer); off {
		return passThrough
	}
	return func(next message.HandlerFunc) message.HandlerFunc {
		return func(msg *message.Message) ([]*message.Message, error) {
			outer := msg.Context()
			ctx, span := tracer.Start(Extract(outer, msg.Metadata), spanName,
				trace.WithSpanKind(trace.SpanKindConsumer))
			// Called directly by defer, End records a panic that passes.
			defer span.End()
			if span.IsRecording() {
				span.SetAttributes(consumerAttributes(outer, msg)...)
			}
			// A middleware outside may call the handler again: that is a
			// sibling of this span and not a child of it.
			defer msg.SetContext(outer)
			msg.SetContext(ctx)

			produced, err := next(msg)
			RecordError(span, err)
			injectAll(ctx, produced)
			return produced, err
		}
	}
}

func passThrough(next message.HandlerFunc) message.HandlerFunc {
	return func(msg *message.Message) ([]*message.Message, error) {
		if msg.Metadata[traceparent] == "" {
			return next(msg)
		}
		outer := msg.Context()
		ctx := Extract(outer, msg.Metadata)
		defer msg.SetContext(outer)
		msg.SetContext(ctx)
		produced, err := next(msg)
		injectAll(ctx, produced)
		return produced, err
	}
}

// injectAll leaves a message alone that the handler has given a trace already.
func injectAll(ctx context.Context, msgs []*message.Message) {
	for _, m := range msgs {
		if m.Metadata[traceparent] != "" {
			continue
		}
		if m.Metadata == nil {
			m.Metadata = message.Metadata{}
		}
		Inject(ctx, m.Metadata)
	}
}

// systemNATS is not among the values that the conventions list; they allow
// others.
var systemNATS = semconv.MessagingSystemKey.String("nats")

// consumerAttributes follows "Semantic conventions for messaging spans".
func consumerAttributes(ctx context.Context, msg *message.Message) []attribute.KeyValue {
	attrs := append(make([]attribute.KeyValue, 0, 6),
		systemNATS,
		semconv.MessagingOperationTypeProcess,
		semconv.MessagingOperationName("process"),
		semconv.MessagingMessageID(msg.UUID),
		semconv.MessagingMessageBodySize(len(msg.Payload)),
	)
	if topic := message.SubscribeTopicFromCtx(ctx); topic != "" {
		attrs = append(attrs, topicAttribute(topic))
	}
	return attrs
}

// topicAttribute keeps a subscription to many subjects apart from a subject.
func topicAttribute(topic string) attribute.KeyValue {
	if strings.ContainsAny(topic, "*>") {
		return semconv.MessagingDestinationTemplate(topic)
	}
	return Destination(topic)
}
