package replication

import "time"

const (
	backoffBase = 30 * time.Second
	// backoffCap is the number of crashes after which the pause grows no more:
	// 30,720 s.
	backoffCap = 11
	// errorBackoffBase and errorBackoffCap bound the pause in state "error".
	errorBackoffBase = 64 * time.Second
	errorBackoffCap  = 12
)

// Backoff is the pause after a number of consecutive crashes, which CouchDB's
// scheduler doubles each time: 0 for none, 30 s for the first, then 60 s, 120 s
// and so on up to 30,720 s (8 h 32 min).
func Backoff(crashes int) time.Duration {
	if crashes <= 0 {
		return 0
	}
	return backoffBase << (min(crashes, backoffCap) - 1)
}

// ErrorBackoff is the longest pause in state "error" after a number of failed
// attempts to make a job of its document. CouchDB waits a random time from 1 s
// to 64 s << min(errors, 12).
func ErrorBackoff(errors int) time.Duration {
	return errorBackoffBase << max(0, min(errors, errorBackoffCap))
}
