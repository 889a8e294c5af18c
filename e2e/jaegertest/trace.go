package jaegertest

import (
	"slices"
	"time"
)

// Trace is what Jaeger knows of one trace, its spans in the order in which they
// began.
type Trace struct {
	ID    string
	Spans []Span
}

// Span is one span of a trace.
type Span struct {
	ID string
	// Parent is the id of the span above; empty for the root.
	Parent string
	// Service is the resource attribute service.name.
	Service string
	Name    string
	Start   time.Time
	// Duration has a resolution of a microsecond.
	Duration time.Duration
	// Attributes are shown as text: 500 as "500", true as "true". Jaeger adds
	// some of its own, "span.kind" and, for a failure, "error" among them.
	Attributes map[string]string
	// Events are the recorded errors and other events, by the same rule.
	Events []map[string]string
}

// Failed says whether the span's status is an error.
func (s Span) Failed() bool { return s.Attributes["error"] == "true" }

// Span returns the first span of that name.
func (t Trace) Span(name string) (Span, bool) {
	i := slices.IndexFunc(t.Spans, func(s Span) bool { return s.Name == name })
	if i < 0 {
		return Span{}, false
	}
	return t.Spans[i], true
}

// Has says whether the trace has a span of each of the names.
func (t Trace) Has(names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		_, found := t.Span(name)
		return !found
	})
}

// Children returns the spans directly below the span with that id; an empty id
// stands for the roots.
func (t Trace) Children(id string) []Span {
	var below []Span
	for _, s := range t.Spans {
		if s.Parent == id {
			below = append(below, s)
		}
	}
	return below
}

// Complete says whether the trace has one root, and every other span's parent.
// What has not arrived yet and would be a leaf is not noticed.
func (t Trace) Complete() bool {
	ids := make(map[string]bool, len(t.Spans))
	for _, s := range t.Spans {
		ids[s.ID] = true
	}
	roots := 0
	for _, s := range t.Spans {
		switch {
		case s.Parent == "":
			roots++
		case !ids[s.Parent]:
			return false
		}
	}
	return roots == 1
}

// Services returns the names of the services that took part, sorted.
func (t Trace) Services() []string {
	var names []string
	for _, s := range t.Spans {
		names = append(names, s.Service)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
