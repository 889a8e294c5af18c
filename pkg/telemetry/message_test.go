package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"millrace/pkg/telemetry"
)

func nothing(*message.Message) ([]*message.Message, error) { return nil, nil }

func tracer(tel *telemetry.Telemetry) trace.Tracer { return tel.Tracer("test") }

func TestBatchIsOneTraceThroughTwoStages(t *testing.T) {
	tel, spans := record(t)
	bus := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	split := router.AddHandler("split", "changes.f1", bus, "write.j1", bus, func(msg *message.Message) ([]*message.Message, error) {
		telemetry.WithScope(msg.Context(), telemetry.Scope{Job: "j1", Run: 2, Feed: "f1", Epoch: 3, Ordinal: 4})
		return []*message.Message{message.NewMessage("w1", msg.Payload)}, nil
	})
	split.AddMiddleware(telemetry.Trace(tracer(tel), "select"))
	written := make(chan struct{})
	write := router.AddConsumerHandler("write", "write.j1", bus, func(msg *message.Message) error {
		defer close(written)
		_, span := tracer(tel).Start(msg.Context(), "POST _bulk_docs")
		span.End()
		return nil
	})
	write.AddMiddleware(telemetry.Trace(tracer(tel), "write"))
	stopped := make(chan error, 1)
	go func() { stopped <- router.Run(context.Background()) }()
	<-router.Running()

	ctx, root := tracer(tel).Start(context.Background(), "read _changes")
	msg := message.NewMessage("c1", []byte("rows"))
	telemetry.Inject(ctx, msg.Metadata)
	if err := bus.Publish("changes.f1", msg); err != nil {
		t.Fatal(err)
	}
	<-written
	root.End()
	if err := errors.Join(router.Close(), <-stopped, bus.Close()); err != nil {
		t.Fatal(err)
	}

	all := spans()
	for child, parent := range map[string]string{"select": "read _changes", "write": "select", "POST _bulk_docs": "write"} {
		c, p := named(t, all, child), named(t, all, parent)
		if c.SpanContext.TraceID() != root.SpanContext().TraceID() || c.Parent.SpanID() != p.SpanContext.SpanID() {
			t.Errorf("%q is not below %q in the same trace", child, parent)
		}
	}
	selected := named(t, all, "select")
	if selected.SpanKind != trace.SpanKindConsumer {
		t.Errorf("span kind %v", selected.SpanKind)
	}
	got := values(selected.Attributes)
	for key, want := range map[string]any{
		"messaging.system":            "nats",
		"messaging.operation.type":    "process",
		"messaging.destination.name":  "changes.f1",
		"messaging.message.id":        "c1",
		"messaging.message.body.size": int64(4),
		"millrace.job":                "j1",
		"millrace.run":                int64(2),
		"millrace.feed":               "f1",
		"millrace.epoch":              int64(3),
		"millrace.ordinal":            int64(4),
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}

func TestTraceRecordsTheHandlersErrorWithoutItsPassword(t *testing.T) {
	tel, spans := record(t)
	failure := errors.New("write to http://adm:hunter2@couch:5984/db: 500")
	handler := telemetry.Trace(tracer(tel), "write")(func(*message.Message) ([]*message.Message, error) {
		return nil, failure
	})
	if _, err := handler(message.NewMessage("1", nil)); err != failure {
		t.Errorf("error became %v", err)
	}
	span := named(t, spans(), "write")
	if span.Status.Code != codes.Error || !strings.Contains(span.Status.Description, "http://*****@couch:5984/db: 500") {
		t.Errorf("status is %+v", span.Status)
	}
	if len(span.Events) != 1 || span.Events[0].Name != "exception" {
		t.Fatalf("events are %+v", span.Events)
	}
	if text := values(span.Events[0].Attributes)["exception.message"].(string); strings.Contains(text, "hunter2") {
		t.Errorf("exception says %q", text)
	}
}

func TestAttributesOfAnyKindLoseTheirPassword(t *testing.T) {
	const secret = "hunter2"
	tel, spans := record(t)
	list := attribute.StringSlice("endpoints", []string{"http://a/db", "http://adm:" + secret + "@b/db"})
	_, other := tracer(tel).Start(context.Background(), "other")
	other.End()
	_, span := tracer(tel).Start(context.Background(), "read http://adm:"+secret+"@a/db", trace.WithLinks(
		trace.Link{SpanContext: other.SpanContext(), Attributes: []attribute.KeyValue{list}}))
	span.SetAttributes(list, telemetry.Rows(3), attribute.String("authorization", "Basic "+secret))
	span.AddEvent("retry", trace.WithAttributes(list))
	span.End()
	all := spans()
	if text := fmt.Sprintf("%+v", all); strings.Contains(text, secret) {
		t.Errorf("the secret is in %s", text)
	}
	got := values(named(t, all, "read http://*****@a/db").Attributes)
	if want := []string{"http://a/db", "http://*****@b/db"}; !slices.Equal(got["endpoints"].([]string), want) || got["millrace.rows"] != int64(3) {
		t.Errorf("attributes are %v", got)
	}
}

func TestTraceRecordsAPanicAndLetsItPass(t *testing.T) {
	tel, spans := record(t)
	handler := telemetry.Trace(tracer(tel), "write")(func(*message.Message) ([]*message.Message, error) {
		panic("no such batch")
	})
	func() {
		defer func() {
			if got := recover(); got != "no such batch" {
				t.Errorf("panic became %v", got)
			}
		}()
		_, _ = handler(message.NewMessage("1", nil))
	}()
	if events := named(t, spans(), "write").Events; len(events) != 1 || events[0].Name != "exception" {
		t.Errorf("events are %+v", events)
	}
}

func TestTraceGivesTheMessageItsContextBack(t *testing.T) {
	tel, spans := record(t)
	handler := telemetry.Trace(tracer(tel), "write")(nothing)
	msg := message.NewMessage("1", nil)
	before := msg.Context()
	for range 2 {
		if _, err := handler(msg); err != nil {
			t.Fatal(err)
		}
	}
	if msg.Context() != before {
		t.Error("the handler's context stayed in the message")
	}
	all := spans()
	if len(all) != 2 || all[1].Parent.IsValid() {
		t.Errorf("a second attempt is not a span beside the first: %+v", all)
	}
}

func TestTraceMarksAWildcardSubscriptionAsTemplate(t *testing.T) {
	tel, spans := record(t)
	bus := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	router.AddMiddleware(telemetry.Trace(tracer(tel), "write"))
	router.AddConsumerHandler("write", "write.*", bus, func(*message.Message) error { return nil })
	stopped := make(chan error, 1)
	go func() { stopped <- router.Run(context.Background()) }()
	<-router.Running()
	if err := errors.Join(bus.Publish("write.*", message.NewMessage("1", nil)), router.Close(), <-stopped, bus.Close()); err != nil {
		t.Fatal(err)
	}
	got := values(named(t, spans(), "write").Attributes)
	if got["messaging.destination.template"] != "write.*" || got["messaging.destination.name"] != nil {
		t.Errorf("attributes are %v", got)
	}
}

func TestProducedMessageKeepsTheTraceItWasGiven(t *testing.T) {
	tel, spans := record(t)
	handler := telemetry.Trace(tracer(tel), "fetch")(func(msg *message.Message) ([]*message.Message, error) {
		own := message.NewMessage("own", nil)
		own.Metadata["traceparent"] = "kept"
		bare := message.NewMessage("bare", nil)
		bare.Metadata = nil
		return []*message.Message{own, bare}, nil
	})
	produced, err := handler(message.NewMessage("1", nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := produced[0].Metadata["traceparent"]; got != "kept" {
		t.Errorf("traceparent was overwritten with %q", got)
	}
	ctx := telemetry.Extract(context.Background(), produced[1].Metadata)
	if got, want := trace.SpanContextFromContext(ctx).SpanID(), named(t, spans(), "fetch").SpanContext.SpanID(); got != want {
		t.Errorf("message continues span %s, want %s", got, want)
	}
}

const incoming = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"

func TestDisabledTracingPassesATraceThrough(t *testing.T) {
	handler := telemetry.Trace(tracer(telemetry.Disabled()), "fetch")(func(msg *message.Message) ([]*message.Message, error) {
		out := message.NewMessage("2", nil)
		telemetry.Inject(msg.Context(), out.Metadata)
		return []*message.Message{out, message.NewMessage("3", nil)}, nil
	})
	msg := message.NewMessage("1", nil)
	msg.Metadata["traceparent"] = incoming
	produced, err := handler(msg)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range produced {
		if got := m.Metadata["traceparent"]; got != incoming {
			t.Errorf("message %s carries %q", m.UUID, got)
		}
	}
}

func TestExtractIgnoresAMalformedTraceparent(t *testing.T) {
	ctx := telemetry.Extract(context.Background(), map[string]string{"traceparent": "00-xyz"})
	if trace.SpanContextFromContext(ctx).IsValid() {
		t.Error("a trace came out of nowhere")
	}
}

func TestDisabledTracingAllocatesNothing(t *testing.T) {
	handler := telemetry.Trace(tracer(telemetry.Disabled()), "write")(nothing)
	msg := message.NewMessage("1", []byte("body"))
	ctx := context.Background()
	n := testing.AllocsPerRun(100, func() {
		_, _ = handler(msg)
		telemetry.Inject(ctx, msg.Metadata)
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkTrace(b *testing.B) {
	run := func(b *testing.B, tel *telemetry.Telemetry, metadata message.Metadata) {
		handler := telemetry.Trace(tracer(tel), "write")(nothing)
		msg := message.NewMessage("1", []byte("body"))
		msg.Metadata = metadata
		b.ReportAllocs()
		for b.Loop() {
			_, _ = handler(msg)
		}
	}
	b.Run("disabled", func(b *testing.B) { run(b, telemetry.Disabled(), nil) })
	b.Run("passing through", func(b *testing.B) {
		run(b, telemetry.Disabled(), message.Metadata{"traceparent": incoming})
	})
	unsampled := incoming[:len(incoming)-1] + "0"
	for name, parent := range map[string]string{"unsampled": unsampled, "sampled": incoming} {
		b.Run(name, func(b *testing.B) {
			run(b, discarding(b), message.Metadata{"traceparent": parent})
		})
	}
}
