package telemetry_test

import (
	"context"
	"io"
	"log/slog"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.uber.org/goleak"

	"millrace/pkg/telemetry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// record starts a Telemetry whose spans are handed out by the returned function,
// as they would have left the process.
func record(t *testing.T) (*telemetry.Telemetry, func() tracetest.SpanStubs) {
	t.Helper()
	memory := tracetest.NewInMemoryExporter()
	tel, err := telemetry.Start(context.Background(), telemetry.Options{
		Service:  "test",
		Logger:   slog.New(slog.NewTextHandler(io.Discard, nil)),
		Exporter: memory,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tel, func() tracetest.SpanStubs {
		t.Helper()
		if err := tel.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		return memory.GetSpans()
	}
}

// values makes a span's attributes comparable.
func values(attrs []attribute.KeyValue) map[string]any {
	m := make(map[string]any, len(attrs))
	for _, a := range attrs {
		m[string(a.Key)] = a.Value.AsInterface()
	}
	return m
}

func named(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	for _, s := range spans {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no span %q among %d", name, len(spans))
	return tracetest.SpanStub{}
}
