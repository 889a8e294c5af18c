package jaegertest

import (
	"fmt"
	"slices"
	"time"
)

// traceAnswer is the JSON of Jaeger's GET /api/traces.
type traceAnswer struct {
	Data []traceJSON `json:"data"`
}

type traceJSON struct {
	TraceID   string     `json:"traceID"`
	Spans     []spanJSON `json:"spans"`
	Processes map[string]struct {
		ServiceName string `json:"serviceName"`
	} `json:"processes"`
}

type spanJSON struct {
	SpanID        string `json:"spanID"`
	OperationName string `json:"operationName"`
	References    []struct {
		RefType string `json:"refType"`
		TraceID string `json:"traceID"`
		SpanID  string `json:"spanID"`
	} `json:"references"`
	StartTime int64     `json:"startTime"` // microseconds since 1970
	Duration  int64     `json:"duration"`  // microseconds
	Tags      []tagJSON `json:"tags"`
	Logs      []struct {
		Fields []tagJSON `json:"fields"`
	} `json:"logs"`
	ProcessID string `json:"processID"`
}

type tagJSON struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

func (a traceAnswer) traces() []Trace {
	all := make([]Trace, 0, len(a.Data))
	for _, t := range a.Data {
		all = append(all, t.trace())
	}
	return all
}

func (t traceJSON) trace() Trace {
	out := Trace{ID: t.TraceID}
	for _, s := range t.Spans {
		span := s.span(t.TraceID)
		span.Service = t.Processes[s.ProcessID].ServiceName
		out.Spans = append(out.Spans, span)
	}
	slices.SortStableFunc(out.Spans, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return out
}

func (s spanJSON) span(traceID string) Span {
	out := Span{
		ID:         s.SpanID,
		Name:       s.OperationName,
		Start:      time.UnixMicro(s.StartTime),
		Duration:   time.Duration(s.Duration) * time.Microsecond,
		Attributes: attributes(s.Tags),
	}
	for _, r := range s.References {
		// A link to another span is a reference too, of another type.
		if r.RefType == "CHILD_OF" && r.TraceID == traceID {
			out.Parent = r.SpanID
		}
	}
	for _, l := range s.Logs {
		out.Events = append(out.Events, attributes(l.Fields))
	}
	return out
}

func attributes(tags []tagJSON) map[string]string {
	m := make(map[string]string, len(tags))
	for _, t := range tags {
		m[t.Key] = fmt.Sprint(t.Value)
	}
	return m
}
