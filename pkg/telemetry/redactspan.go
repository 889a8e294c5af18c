package telemetry

import (
	"slices"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// redactedSpan is a span as it may leave the process (invariant 9): names,
// attributes, events and the status pass through [Redact]. It is done here, on
// the exporter's goroutine, because an error's text can reach a span by many
// ways, and only this one out.
type redactedSpan struct {
	sdktrace.ReadOnlySpan
}

func redactSpans(spans []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	out := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		out[i] = redactedSpan{s}
	}
	return out
}

// Name of the span.
func (s redactedSpan) Name() string { return Redact(s.ReadOnlySpan.Name()) }

// Attributes of the span.
func (s redactedSpan) Attributes() []attribute.KeyValue {
	return redactAttributes(s.ReadOnlySpan.Attributes())
}

// Status of the span.
func (s redactedSpan) Status() sdktrace.Status {
	st := s.ReadOnlySpan.Status()
	st.Description = Redact(st.Description)
	return st
}

// Events of the span, the recorded errors among them.
func (s redactedSpan) Events() []sdktrace.Event {
	events := slices.Clone(s.ReadOnlySpan.Events())
	for i := range events {
		events[i].Name = Redact(events[i].Name)
		events[i].Attributes = redactAttributes(events[i].Attributes)
	}
	return events
}

// Links of the span to others.
func (s redactedSpan) Links() []sdktrace.Link {
	links := slices.Clone(s.ReadOnlySpan.Links())
	for i := range links {
		links[i].Attributes = redactAttributes(links[i].Attributes)
	}
	return links
}

// redactAttributes copies only when there is something to take out.
func redactAttributes(attrs []attribute.KeyValue) []attribute.KeyValue {
	copied := false
	for i, a := range attrs {
		clean, changed := redactValue(a)
		if !changed {
			continue
		}
		if !copied {
			attrs, copied = slices.Clone(attrs), true
		}
		attrs[i].Value = clean
	}
	return attrs
}

func redactValue(a attribute.KeyValue) (attribute.Value, bool) {
	if secretName(string(a.Key)) {
		return attribute.StringValue(mask), true
	}
	switch a.Value.Type() {
	case attribute.STRING:
		before := a.Value.AsString()
		after := Redact(before)
		return attribute.StringValue(after), after != before
	case attribute.STRINGSLICE:
		before := a.Value.AsStringSlice()
		after := make([]string, len(before))
		for i, s := range before {
			after[i] = Redact(s)
		}
		return attribute.StringSliceValue(after), !slices.Equal(before, after)
	default:
		return a.Value, false
	}
}
