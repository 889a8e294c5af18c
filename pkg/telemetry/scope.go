package telemetry

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Scope says what some work is about. Zero fields are unknown and left out
// (runs, epochs and ordinals begin at 1).
type Scope struct {
	// Job is the id of the replication job.
	Job string
	// Run is the number of the job's run.
	Run uint64
	// Feed is the id of the feed.
	Feed string
	// Epoch is the ownership of the feed.
	Epoch uint64
	// Ordinal is the number of the batch.
	Ordinal uint64
}

type scopeKey struct{}

// WithScope returns a context whose work is about s. Zero fields of s keep what
// an outer scope said. The context's current span gets the attributes at once;
// every span begun below it, and every log line written with it, says the same.
// A scope does not cross the broker: a stage takes it from the message it
// decodes.
func WithScope(ctx context.Context, s Scope) context.Context {
	s = s.over(ScopeFrom(ctx))
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		span.SetAttributes(s.attributes()...)
	}
	return context.WithValue(ctx, scopeKey{}, s)
}

// WithJob is [WithScope] for work that concerns a run as a whole.
func WithJob(ctx context.Context, job string, run uint64) context.Context {
	return WithScope(ctx, Scope{Job: job, Run: run})
}

// ScopeFrom returns the context's scope, or the zero Scope.
func ScopeFrom(ctx context.Context) Scope {
	s, _ := ctx.Value(scopeKey{}).(Scope)
	return s
}

// over fills what s leaves open from outer.
func (s Scope) over(outer Scope) Scope {
	if s.Job == "" {
		s.Job = outer.Job
	}
	if s.Run == 0 {
		s.Run = outer.Run
	}
	if s.Feed == "" {
		s.Feed = outer.Feed
	}
	if s.Epoch == 0 {
		s.Epoch = outer.Epoch
	}
	if s.Ordinal == 0 {
		s.Ordinal = outer.Ordinal
	}
	return s
}

func (s Scope) attributes() []attribute.KeyValue {
	attrs := make([]attribute.KeyValue, 0, 5)
	if s.Job != "" {
		attrs = append(attrs, Job(s.Job))
	}
	if s.Run != 0 {
		attrs = append(attrs, Run(s.Run))
	}
	if s.Feed != "" {
		attrs = append(attrs, Feed(s.Feed))
	}
	if s.Epoch != 0 {
		attrs = append(attrs, Epoch(s.Epoch))
	}
	if s.Ordinal != 0 {
		attrs = append(attrs, Ordinal(s.Ordinal))
	}
	return attrs
}

func (s Scope) logAttrs(attrs []slog.Attr) []slog.Attr {
	if s.Job != "" {
		attrs = append(attrs, slog.String("job", s.Job))
	}
	if s.Run != 0 {
		attrs = append(attrs, slog.Uint64("run", s.Run))
	}
	if s.Feed != "" {
		attrs = append(attrs, slog.String("feed", s.Feed))
	}
	if s.Epoch != 0 {
		attrs = append(attrs, slog.Uint64("epoch", s.Epoch))
	}
	if s.Ordinal != 0 {
		attrs = append(attrs, slog.Uint64("ordinal", s.Ordinal))
	}
	return attrs
}

// scopeProcessor gives a span that begins the scope of its context, so that the
// span of a HTTP request, which the library makes, has it too.
type scopeProcessor struct{}

// OnStart adds the scope's attributes.
func (scopeProcessor) OnStart(parent context.Context, s sdktrace.ReadWriteSpan) {
	if scope := ScopeFrom(parent); scope != (Scope{}) {
		s.SetAttributes(scope.attributes()...)
	}
}

// OnEnd does nothing.
func (scopeProcessor) OnEnd(sdktrace.ReadOnlySpan) {}

// Shutdown does nothing.
func (scopeProcessor) Shutdown(context.Context) error { return nil }

// ForceFlush does nothing.
func (scopeProcessor) ForceFlush(context.Context) error { return nil }
