package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// complaintInterval is the least time between two log lines about a collector
// that does not take spans.
const complaintInterval = time.Minute

// exporter stands before the real one. It removes credentials from what goes
// out (invariant 9), and turns failures, which the SDK would hand to a global
// handler one by one, into a log line now and then.
type exporter struct {
	next   sdktrace.SpanExporter
	logger *slog.Logger
	now    func() time.Time

	// ended is closed by abort, and ends an export under way.
	ended context.Context
	abort context.CancelFunc

	mu         sync.Mutex
	lost       int // spans, since the last complaint
	failing    bool
	complained time.Time
}

func newExporter(next sdktrace.SpanExporter, logger *slog.Logger) *exporter {
	e := &exporter{next: next, logger: logger, now: time.Now}
	e.ended, e.abort = context.WithCancel(context.Background())
	return e
}

// ExportSpans never fails: nobody above could do more than log it.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ended, cancel)()
	e.note(ctx, e.next.ExportSpans(ctx, redactSpans(spans)), len(spans))
	return nil
}

// Shutdown releases the real exporter.
func (e *exporter) Shutdown(ctx context.Context) error { return e.next.Shutdown(ctx) }

// note logs the first failure, then at most one per interval, then the recovery.
func (e *exporter) note(ctx context.Context, err error, spans int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		if e.failing {
			e.logger.InfoContext(ctx, "traces are delivered again", "lost_spans", e.lost)
		}
		e.failing, e.lost = false, 0
		return
	}
	e.lost += spans
	if e.failing && e.now().Sub(e.complained) < complaintInterval {
		return
	}
	e.logger.WarnContext(ctx, "traces cannot be delivered", "error", Redact(err.Error()), "lost_spans", e.lost)
	e.failing, e.lost, e.complained = true, 0, e.now()
}
