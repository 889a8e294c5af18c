package telemetry

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"go.opentelemetry.io/otel/trace"
)

// Format is the form of log lines.
type Format string

// The formats.
const (
	// Text is key=value, for people.
	Text Format = "text"
	// JSON is one object a line, for machines.
	JSON Format = "json"
)

// FormatError is returned by [ParseFormat] for a format that does not exist.
type FormatError struct{ Given string }

func (e *FormatError) Error() string {
	return fmt.Sprintf("unknown log format %q: known are %s and %s", e.Given, Text, JSON)
}

// ParseFormat reads a format from configuration; empty means [Text]. It returns
// a *[FormatError] for anything else.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return Text, nil
	case Text, JSON:
		return f, nil
	default:
		return "", &FormatError{Given: s}
	}
}

// NewLogger returns a logger that writes lines of at least the given level (nil:
// info) to w. A line written with a context also names the context's trace
// (trace_id, span_id) and scope (job, run, feed, epoch, ordinal), at the top
// level even within a group.
//
// Userinfo is taken out of every URL in a line, wherever it stands, and the
// values of attributes named "password", "authorization" and the like are
// masked (invariant 9).
func NewLogger(w io.Writer, format Format, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: maskSecret}
	w = redactingWriter{w}
	var h slog.Handler
	if format == JSON {
		h = slog.NewJSONHandler(w, options)
	} else {
		h = slog.NewTextHandler(w, options)
	}
	return slog.New(&contextHandler{top: h, next: h})
}

func maskSecret(_ []string, a slog.Attr) slog.Attr {
	if secretName(a.Key) {
		a.Value = slog.StringValue(mask)
	}
	return a
}

// redactingWriter sees whole lines: slog's handlers write each with one call.
type redactingWriter struct{ w io.Writer }

func (r redactingWriter) Write(line []byte) (int, error) {
	if !bytes.Contains(line, []byte("://")) {
		return r.w.Write(line)
	}
	if _, err := io.WriteString(r.w, Redact(string(line))); err != nil {
		return 0, err
	}
	return len(line), nil
}

// contextHandler adds what the context says to each record.
type contextHandler struct {
	// top is the handler as it was before the first group was opened, and
	// inGroup what has been done to it since. Attributes of the context go
	// between the two.
	top     slog.Handler
	inGroup []func(slog.Handler) slog.Handler
	// next is the outcome of both, for records whose context says nothing.
	next slog.Handler
}

// Enabled says whether a record of that level is written.
func (h *contextHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle writes the record.
func (h *contextHandler) Handle(ctx context.Context, r slog.Record) error {
	attrs := contextAttrs(ctx)
	if len(attrs) == 0 {
		return h.next.Handle(ctx, r)
	}
	target := h.top.WithAttrs(attrs)
	for _, do := range h.inGroup {
		target = do(target)
	}
	return target.Handle(ctx, r)
}

// WithAttrs returns a handler that adds attrs to each record.
func (h *contextHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(h.inGroup) == 0 {
		next := h.top.WithAttrs(attrs)
		return &contextHandler{top: next, next: next}
	}
	return h.then(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

// WithGroup returns a handler that puts what is added from now on into a group.
func (h *contextHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.then(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *contextHandler) then(do func(slog.Handler) slog.Handler) slog.Handler {
	return &contextHandler{
		top:     h.top,
		inGroup: append(slices.Clip(h.inGroup), do),
		next:    do(h.next),
	}
}

func contextAttrs(ctx context.Context) []slog.Attr {
	span := trace.SpanContextFromContext(ctx)
	scope := ScopeFrom(ctx)
	if !span.IsValid() && scope == (Scope{}) {
		return nil
	}
	attrs := make([]slog.Attr, 0, 7)
	if span.IsValid() {
		attrs = append(attrs,
			slog.String("trace_id", span.TraceID().String()),
			slog.String("span_id", span.SpanID().String()))
	}
	return scope.logAttrs(attrs)
}
