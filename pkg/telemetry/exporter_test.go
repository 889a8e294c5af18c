package telemetry

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// target is an exporter whose outcome the test decides.
type target struct{ err error }

func (f *target) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return f.err }
func (f *target) Shutdown(context.Context) error                             { return nil }

func TestUndeliveredTracesAreLoggedOnceAMinute(t *testing.T) {
	var log bytes.Buffer
	now := time.Unix(0, 0)
	next := &target{err: errors.New("post http://u:hunter2@collector: refused")}
	e := newExporter(next, slog.New(slog.NewTextHandler(&log, nil)))
	defer e.abort()
	e.now = func() time.Time { return now }

	steps := []struct {
		name  string
		after time.Duration
		err   error
		want  string
	}{
		{"the first failure", 0, next.err, `msg="traces cannot be delivered" error="post http://*****@collector: refused" lost_spans=2`},
		{"soon after", 59 * time.Second, next.err, ""},
		{"a minute after the first", time.Second, next.err, "lost_spans=4"},
		{"soon after that", time.Second, next.err, ""},
		{"recovery", time.Second, nil, `msg="traces are delivered again" lost_spans=2`},
		{"success", time.Second, nil, ""},
		{"failure after recovery", 0, next.err, "lost_spans=2"},
	}
	for _, step := range steps {
		log.Reset()
		now = now.Add(step.after)
		next.err = step.err
		if err := e.ExportSpans(context.Background(), make([]sdktrace.ReadOnlySpan, 2)); err != nil {
			t.Errorf("%s: the SDK got %v", step.name, err)
		}
		if got := log.String(); (got == "") != (step.want == "") || !strings.Contains(got, step.want) {
			t.Errorf("%s: log is %q, want %q", step.name, got, step.want)
		}
	}
}
