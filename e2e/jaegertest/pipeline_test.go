package jaegertest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/gochannel"

	"millrace/e2e/jaegertest"
	"millrace/pkg/telemetry"
)

// arrival bounds the wait for spans; it is never what a passing test waits.
const arrival = 30 * time.Second

func TestJaegerShowsABatchAsOneTraceThroughTwoStages(t *testing.T) {
	jaeger := jaegertest.ForTest(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", jaeger.Endpoint())
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer target.Close()

	reader, fetcher, writer := start(t, "changes-reader"), start(t, "doc-fetcher"), start(t, "bulk-writer")
	client := &http.Client{Transport: writer.Transport(nil)}
	bus := gochannel.NewGoChannel(gochannel.Config{BlockPublishUntilSubscriberAck: true}, watermill.NopLogger{})
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		t.Fatal(err)
	}
	router.AddHandler("fetch", "missing.j1", bus, "write.j1", bus, func(msg *message.Message) ([]*message.Message, error) {
		telemetry.WithScope(msg.Context(), telemetry.Scope{Job: "j1", Run: 1 << 60, Feed: "f1", Epoch: 3, Ordinal: 4})
		return []*message.Message{message.NewMessage("w1", msg.Payload)}, nil
	}).AddMiddleware(telemetry.Trace(fetcher.Tracer("test"), "fetch"))
	failed := make(chan error, 1)
	router.AddConsumerHandler("write", "write.j1", bus, func(msg *message.Message) error {
		ctx := telemetry.WithJob(msg.Context(), "j1", 1)
		failed <- post(ctx, client, target.URL+"/db/_bulk_docs")
		return nil
	}).AddMiddleware(telemetry.Trace(writer.Tracer("test"), "write"))
	stopped := make(chan error, 1)
	go func() { stopped <- router.Run(context.Background()) }()
	<-router.Running()

	ctx, root := reader.Tracer("test").Start(t.Context(), "read _changes")
	msg := message.NewMessage("c1", []byte("rows"))
	telemetry.Inject(ctx, msg.Metadata)
	if err := errors.Join(bus.Publish("missing.j1", msg), <-failed); err != nil {
		t.Fatal(err)
	}
	root.End()
	if err := errors.Join(router.Close(), <-stopped, bus.Close()); err != nil {
		t.Fatal(err)
	}
	for _, tel := range []*telemetry.Telemetry{reader, fetcher, writer} {
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	waiting, cancel := context.WithTimeout(t.Context(), arrival)
	defer cancel()
	trace, err := jaeger.Trace(waiting, "bulk-writer", func(tr jaegertest.Trace) bool {
		return tr.Has("read _changes", "fetch", "write", "POST _bulk_docs") && tr.Complete()
	})
	if err != nil {
		t.Fatal(err)
	}
	if trace.ID != root.SpanContext().TraceID().String() || len(trace.Spans) != 4 {
		t.Errorf("trace is %+v", trace)
	}
	if got, want := trace.Services(), []string{"bulk-writer", "changes-reader", "doc-fetcher"}; !slices.Equal(got, want) {
		t.Errorf("services are %q, want %q", got, want)
	}
	above := ""
	for _, name := range []string{"read _changes", "fetch", "write", "POST _bulk_docs"} {
		children := trace.Children(above)
		if len(children) != 1 || children[0].Name != name {
			t.Fatalf("%q is not the only span below %q: %+v", name, above, children)
		}
		above = children[0].ID
	}
	fetch, _ := trace.Span("fetch")
	if fetch.Attributes["millrace.run"] != "1152921504606846976" || fetch.Attributes["span.kind"] != "consumer" {
		t.Errorf("attributes of the stage are %v", fetch.Attributes)
	}
	request, _ := trace.Span("POST _bulk_docs")
	if !request.Failed() || request.Attributes["http.response.status_code"] != "503" || request.Attributes["millrace.job"] != "j1" {
		t.Errorf("attributes of the request are %v", request.Attributes)
	}
}

func TestWaitingForATraceEndsWithItsContext(t *testing.T) {
	jaeger := jaegertest.ForTest(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", jaeger.Endpoint())
	tel := start(t, "lonely")
	_, span := tel.Tracer("test").Start(t.Context(), "x")
	span.End()
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), arrival)
	defer cancel()
	_, err := jaeger.Trace(ctx, "lonely", func(jaegertest.Trace) bool {
		cancel()
		return false
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if traces, err := jaeger.Traces(t.Context(), "nobody"); err != nil || len(traces) != 0 {
		t.Errorf("traces of nobody are %v, %v", traces, err)
	}
}

func start(t *testing.T, service string) *telemetry.Telemetry {
	t.Helper()
	tel, err := telemetry.Start(t.Context(), telemetry.Options{Service: service})
	if err != nil {
		t.Fatal(err)
	}
	return tel
}

func post(ctx context.Context, client *http.Client, url string) error {
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return errors.Join(err, res.Body.Close())
}
