package replicator

import (
	"errors"
	"fmt"
	"time"

	"millrace/pkg/control"
	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

// crash is the end of a run that could not go on.
type crash struct {
	reason string
	// permanent: no attempt can succeed before somebody changes something.
	permanent bool
	// lost: the pipeline lost a message, or the feed its log; nothing is wrong with
	// the databases, and a new run can begin at once.
	lost bool
	// throttled: a database refuses too many requests; the next run does less at once.
	throttled bool
	// after is how long to wait at least.
	after time.Duration
}

func (c *crash) Error() string { return c.reason }

func crashed(e *millracev1.Event) *crash {
	return &crash{
		reason:    fmt.Sprintf("%s: %s", e.Stage, e.Reason),
		permanent: e.Class == millracev1.Event_CLASS_PERMANENT,
		lost:      e.Class == millracev1.Event_CLASS_FEED_LOST,
		throttled: e.Error == couch.ErrMaxBackoff.Error(),
		after:     time.Duration(e.RetryAfterMs) * time.Millisecond,
	}
}

// crashOf turns what a database refused into the end of the run.
func crashOf(err error) error {
	var refused *control.Error
	if errors.As(err, &refused) {
		return &crash{
			reason: refused.Error(), permanent: refused.Permanent, after: refused.RetryAfter,
			throttled: refused.Word == couch.ErrMaxBackoff.Error(),
		}
	}
	return err
}
