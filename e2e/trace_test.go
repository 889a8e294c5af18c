package e2e_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"millrace/e2e/dataset"
	"millrace/e2e/jaegertest"
	"millrace/e2e/program"
)

// stages are the spans that every batch has that is not there yet at the target.
var stages = []string{
	program.ChangesReader, program.Selector, program.RevsDiff, program.DocFetcher, program.BulkWriter,
}

// requests are the HTTP requests below them. The request to _changes lasts as long as
// the feed, so that each batch's root links to it.
var requests = []string{"POST _bulk_get", "POST _bulk_docs"}

// arrival is how long spans may take to reach Jaeger: exporters send them in batches.
const arrival = time.Minute

func TestBatchIsOneTraceFromChangesToBulkDocs(t *testing.T) {
	jaeger := jaegertest.ForTest(t)
	otlp := "OTEL_EXPORTER_OTLP_ENDPOINT=" + jaeger.Endpoint()
	s := onMillponds(t)
	s.fill(dataset.Bulk(100, 300))
	t.Run("all in one process", func(t *testing.T) {
		p := program.Start(t, program.Millrace, []string{"replicate", "--json", s.source, s.target}, otlp)
		if code := p.Wait(); code != program.ExitOK {
			t.Fatalf("exit code %d", code)
		}
		checkTrace(t, jaeger, program.Millrace, []string{program.Millrace})
	})
	t.Run("a process for each service", func(t *testing.T) {
		c := program.StartCluster(t, program.ClusterOptions{Env: []string{otlp}})
		c.Replicate(s.source, s.pair.Target.NewDB(t)).Completed()
		checkTrace(t, jaeger, program.BulkWriter, stages)
	})
}

// checkTrace waits for the trace of a batch in which the service took part, and
// checks what it says.
func checkTrace(t *testing.T, jaeger *jaegertest.Server, service string, services []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), arrival)
	defer cancel()
	wanted := slices.Concat(stages, requests)
	trace, err := jaeger.Trace(ctx, service, func(tr jaegertest.Trace) bool { return tr.Has(wanted...) && tr.Complete() })
	if err != nil {
		seen, _ := jaeger.Traces(t.Context(), service)
		t.Fatalf("no trace has all of %v: %v\n%s", wanted, err, describe(seen))
	}
	slices.Sort(services)
	if got := trace.Services(); !slices.Equal(got, services) {
		t.Errorf("services in the trace: %v, want %v", got, services)
	}
	roots := trace.Children("")
	if len(roots) != 1 || roots[0].Name != program.ChangesReader {
		t.Errorf("the root is %v", roots)
	}
	ordinal := roots[0].Attributes["millrace.ordinal"]
	for _, name := range wanted {
		span, _ := trace.Span(name)
		keys := []string{"millrace.feed", "millrace.ordinal"}
		if !slices.Contains([]string{program.ChangesReader, program.Selector}, name) { // which serve all jobs of a feed
			keys = append(keys, "millrace.job", "millrace.run")
		}
		for _, key := range keys {
			if span.Attributes[key] == "" {
				t.Errorf("%s has no %s: %v", name, key, span.Attributes)
			}
		}
		if got := span.Attributes["millrace.ordinal"]; got != ordinal {
			t.Errorf("%s is of batch %s in the trace of batch %s", name, got, ordinal)
		}
		if span.Failed() {
			t.Errorf("%s failed: %v", name, span)
		}
	}
	for _, name := range requests {
		span, _ := trace.Span(name)
		if status := span.Attributes["http.response.status_code"]; !strings.HasPrefix(status, "20") {
			t.Errorf("%s has the status %q", name, status)
		}
	}
	for _, span := range trace.Spans {
		for key, value := range span.Attributes {
			if strings.Contains(value, "adm:") || strings.Contains(value, "@127.0.0.1") {
				t.Errorf("%s has a credential in %s: %s", span.Name, key, value)
			}
		}
	}
}

// describe is what a failed test prints of traces: the names of their spans.
func describe(traces []jaegertest.Trace) string {
	var b strings.Builder
	for _, trace := range traces {
		for _, span := range trace.Spans {
			b.WriteString(span.Service + ": " + span.Name + "; ")
		}
		b.WriteByte('\n')
	}
	return b.String()
}
