package replicator

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
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
	// choosesNothing: the source does not filter its feed; a new run can read all of it at once.
	choosesNothing bool
	// throttled: a database refuses too many requests; the next run does less at once.
	throttled bool
	// replaced is the side whose database is another than the run began with; empty if none is.
	replaced control.Side
	// after is how long to wait at least.
	after time.Duration
}

func (c *crash) Error() string { return c.reason }

func crashed(e *millracev1.Event) *crash {
	return &crash{
		reason:    words(e) + fmt.Sprintf("%s: %s", e.Stage, e.Reason),
		permanent: e.Class == millracev1.Event_CLASS_PERMANENT,
		lost:      e.Class == millracev1.Event_CLASS_FEED_LOST,
		throttled: e.Error == couch.ErrMaxBackoff.Error(),
		after:     time.Duration(e.RetryAfterMs) * time.Millisecond,
	}
}

// refusedToChoose reports whether the source refused a feed only because it was to filter it, as far as one
// can tell: what else it may have been (a database that is gone, say) the next run meets too.
func refusedToChoose(e *millracev1.Event) bool {
	if e.Stage != "changes-reader" || e.Class != millracev1.Event_CLASS_PERMANENT {
		return false
	}
	switch e.Status {
	case 0, http.StatusUnauthorized, http.StatusForbidden:
		return false
	}
	return true
}

// words are those with which CouchDB's replicator begins the reason of such a crash: people
// search for them.
func words(e *millracev1.Event) string {
	if e.Status == 0 {
		return ""
	}
	word := ""
	switch e.Stage {
	case "changes-reader":
		word = "changes_req_failed"
	case "revs-diff":
		word = "revs_diff_failed"
	case "doc-fetcher":
		word = "open_doc_revs_failed"
	case "bulk-writer":
		word = "doc_write_failed"
		if strings.Contains(e.Reason, "/_bulk_docs") {
			word = "bulk_docs_failed"
		}
	default:
		return ""
	}
	return fmt.Sprintf("%s %d: ", word, e.Status)
}

// startedOver is what the job says for ever after a database was found to be another.
func startedOver(side control.Side) string {
	return fmt.Sprintf("the %s database was deleted and created again meanwhile: the replication has started over", side)
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
