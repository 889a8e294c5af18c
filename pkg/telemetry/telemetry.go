package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// DefaultFlushTimeout is the time that [Telemetry.Shutdown] waits for the last
// spans to be delivered.
const DefaultFlushTimeout = 5 * time.Second

// Options of [Start].
type Options struct {
	// Service is the resource attribute service.name; OTEL_SERVICE_NAME wins.
	Service string
	// Version is the resource attribute service.version; empty leaves it out.
	Version string
	// Logger is told of traces that cannot be delivered, at most once a
	// minute. Default: slog.Default().
	Logger *slog.Logger
	// FlushTimeout bounds Shutdown. Default: [DefaultFlushTimeout].
	FlushTimeout time.Duration
	// Exporter takes the spans instead of what the environment names. Start
	// owns it from then on.
	Exporter sdktrace.SpanExporter
}

// Telemetry makes tracers and traced HTTP transports. All methods may be called
// from several goroutines.
type Telemetry struct {
	provider trace.TracerProvider
	// sdk and exporter are nil when tracing is off.
	sdk          *sdktrace.TracerProvider
	exporter     *exporter
	flushTimeout time.Duration
}

// Disabled returns a Telemetry that makes no spans: for tests, and for commands
// that have nothing to trace.
func Disabled() *Telemetry {
	return &Telemetry{provider: noop.NewTracerProvider()}
}

// Start begins to export traces over OTLP/HTTP if the environment asks for it:
// OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set, or
// OTEL_TRACES_EXPORTER is "otlp". Otherwise, with OTEL_TRACES_EXPORTER=none and
// with OTEL_SDK_DISABLED=true, it makes no spans at all. The other variables of
// OpenTelemetry's specification hold as well: OTEL_SERVICE_NAME,
// OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER and _ARG (default: everything
// whose parent is sampled, and every trace begun here), OTEL_BSP_*,
// OTEL_EXPORTER_OTLP_* (headers, timeout, compression, certificates).
//
// Spans wait in a bounded queue and are dropped when it is full (invariant 5):
// a collector that is slow or away never holds up the pipeline.
//
// It fails when the exporter's settings cannot be used, for example a
// certificate that cannot be read. The caller must call Shutdown.
func Start(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.FlushTimeout <= 0 {
		o.FlushTimeout = DefaultFlushTimeout
	}
	target, err := spanExporter(ctx, o)
	if err != nil {
		return nil, err
	}
	if target == nil {
		return Disabled(), nil
	}
	out := newExporter(target, o.Logger)
	sdk := sdktrace.NewTracerProvider(
		sdktrace.WithResource(serviceResource(ctx, o)),
		sdktrace.WithSpanProcessor(scopeProcessor{}),
		sdktrace.WithBatcher(out),
	)
	return &Telemetry{provider: sdk, sdk: sdk, exporter: out, flushTimeout: o.FlushTimeout}, nil
}

// spanExporter returns nil when nothing is to be exported.
func spanExporter(ctx context.Context, o Options) (sdktrace.SpanExporter, error) {
	if o.Exporter != nil {
		return o.Exporter, nil
	}
	choice := chooseExporter(os.Getenv)
	for _, w := range choice.warnings {
		o.Logger.WarnContext(ctx, w)
	}
	if !choice.otlp {
		return nil, nil
	}
	e, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the OTLP trace exporter: %w", err)
	}
	return e, nil
}

// Enabled says whether spans are made. Code that would compute something for a
// span only should ask the span's IsRecording instead.
func (t *Telemetry) Enabled() bool { return t.sdk != nil }

// Tracer returns a tracer for the code that name identifies, by convention the
// import path of its package.
func (t *Telemetry) Tracer(name string) trace.Tracer {
	return t.provider.Tracer(name)
}

// Flush delivers the spans that have ended so far, or returns the context's
// error.
func (t *Telemetry) Flush(ctx context.Context) error {
	if t.sdk == nil {
		return nil
	}
	if err := t.sdk.ForceFlush(ctx); err != nil {
		return fmt.Errorf("flush traces: %w", err)
	}
	return nil
}

// Shutdown delivers what is left and releases everything that Start began. It
// returns within Options.FlushTimeout: what has not been delivered by then is
// given up, and the error says so. Spans ended afterwards are dropped.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	if t.sdk == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.flushTimeout)
	defer cancel()
	// The processor's goroutine outlives the deadline as long as an export is
	// under way, so that is ended too.
	defer t.exporter.abort()
	if err := t.sdk.Shutdown(ctx); err != nil {
		return fmt.Errorf("shut down tracing: %w", err)
	}
	return nil
}
