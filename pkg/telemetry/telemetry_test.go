package telemetry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/telemetry"
)

// otlpServer collects what is posted to /v1/traces.
func otlpServer(t *testing.T) (url string, received func() []*collector.ExportTraceServiceRequest) {
	t.Helper()
	var mu sync.Mutex
	var got []*collector.ExportTraceServiceRequest
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		message := new(collector.ExportTraceServiceRequest)
		if err := errors.Join(err, proto.Unmarshal(body, message)); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, message)
	}))
	t.Cleanup(server.Close)
	return server.URL, func() []*collector.ExportTraceServiceRequest {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

func TestStartExportsToTheEndpointOfTheEnvironment(t *testing.T) {
	url, received := otlpServer(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
	t.Setenv("OTEL_SERVICE_NAME", "chosen-by-operator")
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
	tel, err := telemetry.Start(context.Background(), telemetry.Options{Service: "default", Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	if !tel.Enabled() {
		t.Error("not enabled")
	}
	_, span := tel.Tracer("test").Start(context.Background(), "read _changes")
	span.End()
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}

	got := received()
	if len(got) != 1 {
		t.Fatalf("%d requests", len(got))
	}
	spans := got[0].ResourceSpans[0]
	if name := spans.ScopeSpans[0].Spans[0].Name; name != "read _changes" {
		t.Errorf("span is %q", name)
	}
	resource := make(map[string]string)
	for _, a := range spans.Resource.Attributes {
		resource[a.Key] = a.Value.GetStringValue()
	}
	for key, want := range map[string]string{
		"service.name": "chosen-by-operator", "service.version": "1.2.3", "deployment.environment.name": "test",
	} {
		if resource[key] != want {
			t.Errorf("%s is %q, want %q", key, resource[key], want)
		}
	}
	if resource["service.instance.id"] == "" {
		t.Error("two instances of a service cannot be told apart")
	}
}

func TestStartHonoursTheSampler(t *testing.T) {
	url, received := otlpServer(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
	t.Setenv("OTEL_TRACES_SAMPLER", "traceidratio")
	t.Setenv("OTEL_TRACES_SAMPLER_ARG", "0")
	tel, err := telemetry.Start(context.Background(), telemetry.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer("test").Start(context.Background(), "x")
	span.End()
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := received(); len(got) != 0 {
		t.Errorf("%d requests", len(got))
	}
}

func TestStartWithoutEnvironmentMakesNoSpans(t *testing.T) {
	tel, err := telemetry.Start(context.Background(), telemetry.Options{Service: "x"})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer("test").Start(context.Background(), "x")
	if tel.Enabled() || span.IsRecording() {
		t.Error("spans are made")
	}
	if err := errors.Join(tel.Flush(context.Background()), tel.Shutdown(context.Background())); err != nil {
		t.Error(err)
	}
}

func TestStartWarnsOfSettingsItIgnores(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "zipkin")
	var log bytes.Buffer
	tel, err := telemetry.Start(context.Background(), telemetry.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil || tel.Enabled() || log.Len() == 0 {
		t.Errorf("enabled %v, error %v, log %q", tel.Enabled(), err, &log)
	}
}

// hanging is an exporter that returns when it is told to only.
type hanging struct {
	began, ended chan struct{}
	begin, end   sync.Once
}

func (h *hanging) ExportSpans(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
	h.begin.Do(func() { close(h.began) })
	<-ctx.Done()
	h.end.Do(func() { close(h.ended) })
	return ctx.Err()
}

func (h *hanging) Shutdown(context.Context) error { return nil }

func TestShutdownGivesUpOnACollectorThatHangs(t *testing.T) {
	h := &hanging{began: make(chan struct{}), ended: make(chan struct{})}
	tel, err := telemetry.Start(context.Background(), telemetry.Options{
		Exporter:     h,
		FlushTimeout: time.Millisecond,
		Logger:       slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tel.Tracer("test").Start(context.Background(), "x")
	span.End()
	if err := tel.Shutdown(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	<-h.began
	<-h.ended
}

func TestSpansBeyondTheQueueAreDroppedAndNeverWaitedFor(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
	h := &hanging{began: make(chan struct{}), ended: make(chan struct{})}
	tel, err := telemetry.Start(context.Background(), telemetry.Options{
		Exporter:     h,
		FlushTimeout: time.Millisecond,
		Logger:       slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 { // would never come to an end
		_, span := tel.Tracer("test").Start(context.Background(), "x")
		span.End()
	}
	<-h.began
	if err := tel.Shutdown(context.Background()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
}

// discarding makes spans and throws them away.
func discarding(tb testing.TB) *telemetry.Telemetry {
	tb.Helper()
	tel, err := telemetry.Start(context.Background(), telemetry.Options{Exporter: discard{}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	return tel
}

type discard struct{}

func (discard) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return nil }
func (discard) Shutdown(context.Context) error                             { return nil }
