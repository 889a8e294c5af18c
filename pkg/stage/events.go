package stage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nuid"
	"go.opentelemetry.io/otel/trace"

	"millrace/pkg/couch"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

// ErrFeedLost says that a feed cannot go on: batches that were not done yet are gone from
// its log. Its jobs begin new runs from their checkpoints.
var ErrFeedLost = errors.New("the feed cannot go on")

// ErrFilterChanged says that a filter function is not the one any more of which the job's replication id
// was made: the job is over, and the replication goes on under another id. Its text is the event's error
// word.
var ErrFilterChanged = errors.New("filter_changed")

// FeedOpened is the error word of the event, of class info, that a source's live feed was
// opened, for the first time or again.
const FeedOpened = "feed_opened"

// cutDeliveries is how often a message may end with a cut answer before its run does.
const cutDeliveries = 5

// Fail reports that a run cannot go on because of err, and returns err, for the
// message to be handed back. The replicator ends the run and begins another one
// after a while; the messages of the old run are then dropped.
//
// An answer that was cut after it had begun is no reason yet: the server was there a moment
// ago, and the message comes back soon. The client cannot try again by itself,
// because what it had read was in use already.
func (s *Stage) Fail(ctx context.Context, pos *millracev1.Position, err error) error {
	if err == nil || ctx.Err() != nil || errors.Is(err, ErrOver) {
		return err
	}
	var cut *couch.CutError
	if n := deliveries(ctx); errors.As(err, &cut) && n > 0 && n < cutDeliveries {
		return err
	}
	telemetry.RecordError(trace.SpanFromContext(ctx), err)
	e := s.event(ctx, pos, err)
	if perr := s.Report(ctx, e); perr != nil {
		return errors.Join(err, perr)
	}
	return err
}

// Report publishes an event of a job.
func (s *Stage) Report(ctx context.Context, e *millracev1.Event) error {
	subject := s.broker.Subjects().Events(e.GetPosition().GetJob())
	if err := s.Publish(ctx, subject, nuid.Next(), e); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

func (s *Stage) event(ctx context.Context, pos *millracev1.Position, err error) *millracev1.Event {
	e := &millracev1.Event{
		Position: pos, Stage: s.name, Class: millracev1.Event_CLASS_TRANSIENT,
		Error: "error", Reason: err.Error(), Time: time.Now().UnixNano(),
	}
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		e.TraceId = span.TraceID().String()
	}
	switch {
	case errors.Is(err, ErrFilterChanged):
		e.Class, e.Error = millracev1.Event_CLASS_PERMANENT, ErrFilterChanged.Error()
	case errors.Is(err, ErrFeedLost):
		e.Class = millracev1.Event_CLASS_FEED_LOST
	case couch.Classify(err) == couch.Permanent:
		e.Class = millracev1.Event_CLASS_PERMANENT
	}
	var answer *couch.HTTPError
	if errors.As(err, &answer) {
		e.Status, e.Error = int32(answer.Status), answer.Err
		e.RetryAfterMs = answer.RetryAfter.Milliseconds()
	}
	var throttled *couch.ThrottledError
	if errors.As(err, &throttled) {
		e.Error = couch.ErrMaxBackoff.Error()
		e.RetryAfterMs = throttled.RetryAfter.Milliseconds()
	}
	return e
}
