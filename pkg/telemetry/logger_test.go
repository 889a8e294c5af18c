package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"millrace/pkg/telemetry"
)

func line(t *testing.T, buf *bytes.Buffer) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal(buf.Bytes(), &got); err != nil {
		t.Fatalf("%q: %v", buf, err)
	}
	return got
}

func traced(t *testing.T) context.Context {
	t.Helper()
	return telemetry.Extract(context.Background(), map[string]string{"traceparent": incoming})
}

func TestLogLineNamesTraceAndScope(t *testing.T) {
	var buf bytes.Buffer
	log := telemetry.NewLogger(&buf, telemetry.JSON, nil).With("stage", "writer")
	ctx := telemetry.WithScope(traced(t), telemetry.Scope{Feed: "f1", Epoch: 3, Ordinal: 4})
	ctx = telemetry.WithJob(ctx, "j1", 2)
	log.InfoContext(ctx, "wrote batch", "docs", 500)

	got := line(t, &buf)
	span := trace.SpanContextFromContext(ctx)
	for key, want := range map[string]any{
		"msg": "wrote batch", "stage": "writer", "docs": 500.0,
		"trace_id": span.TraceID().String(), "span_id": span.SpanID().String(),
		"job": "j1", "run": 2.0, "feed": "f1", "epoch": 3.0, "ordinal": 4.0,
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}

func TestLogLineWithinAGroupNamesTheTraceAtTheTop(t *testing.T) {
	var buf bytes.Buffer
	log := telemetry.NewLogger(&buf, telemetry.JSON, nil)
	log = log.With("a", 1).WithGroup("request").With("b", 2).WithGroup("")
	log.InfoContext(telemetry.WithJob(traced(t), "j1", 0), "x", "c", 3)

	got := line(t, &buf)
	group, _ := got["request"].(map[string]any)
	if got["job"] != "j1" || got["trace_id"] == nil || got["a"] != 1.0 || got["run"] != nil {
		t.Errorf("top level is %v", got)
	}
	if len(group) != 2 || group["b"] != 2.0 || group["c"] != 3.0 {
		t.Errorf("group is %v", group)
	}
}

func TestSiblingLoggersDoNotShareAttributes(t *testing.T) {
	var buf bytes.Buffer
	parent := telemetry.NewLogger(&buf, telemetry.JSON, nil).WithGroup("g").With("a", 1)
	first := parent.With("b", 1)
	_ = parent.With("c", 1)
	first.InfoContext(telemetry.WithJob(context.Background(), "j1", 1), "x")
	group, _ := line(t, &buf)["g"].(map[string]any)
	if len(group) != 2 || group["b"] != 1.0 {
		t.Errorf("group is %v", group)
	}
}

func TestLogShowsNoCredential(t *testing.T) {
	const secret = "hunter2"
	u := &url.URL{Scheme: "https", User: url.UserPassword("adm", secret), Host: "couch", Path: "/db"}
	for _, format := range []telemetry.Format{telemetry.Text, telemetry.JSON} {
		t.Run(string(format), func(t *testing.T) {
			var buf bytes.Buffer
			log := telemetry.NewLogger(&buf, format, slog.LevelDebug)
			log = log.With("source", u.String()).WithGroup("g").With("target", u)
			log.Debug("copy from "+u.String(),
				"error", errors.New("Get "+u.String()+": EOF"),
				"list", []string{"x", u.String()},
				slog.Group("nested", "password", secret, "Authorization", "Basic "+secret),
				"quoted", `say "`+u.String()+`"`,
			)
			if strings.Contains(buf.String(), secret) {
				t.Errorf("the secret is in %s", &buf)
			}
			if strings.Count(buf.String(), "couch/db") < 5 {
				t.Errorf("more than the secret is missing in %s", &buf)
			}
		})
	}
}

func TestLoggerObeysItsLevel(t *testing.T) {
	var buf bytes.Buffer
	log := telemetry.NewLogger(&buf, telemetry.Text, slog.LevelWarn)
	log.Info("quiet")
	log.Warn("loud")
	if got := buf.String(); strings.Contains(got, "quiet") || !strings.Contains(got, "loud") {
		t.Errorf("log is %q", got)
	}
}

func TestParseFormatKnowsTextAndJSON(t *testing.T) {
	for in, want := range map[string]telemetry.Format{"": telemetry.Text, "text": telemetry.Text, "json": telemetry.JSON} {
		if got, err := telemetry.ParseFormat(in); got != want || err != nil {
			t.Errorf("%q is %q, %v", in, got, err)
		}
	}
	var unknown *telemetry.FormatError
	if _, err := telemetry.ParseFormat("xml"); !errors.As(err, &unknown) || unknown.Given != "xml" {
		t.Errorf("xml: %v", err)
	}
}
