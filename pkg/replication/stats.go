package replication

// Stats are the counters of a replication, under the names that CouchDB's
// checkpoint history gives them. The zero value counts nothing.
type Stats struct {
	// MissingChecked counts leaf revisions seen in the changes feed.
	MissingChecked int64 `json:"missing_checked"`
	// MissingFound counts revisions that the target lacked, or, while
	// _revs_diff is skipped, that were taken to be missing.
	MissingFound int64 `json:"missing_found"`
	// DocsRead counts document revisions fetched from the source.
	DocsRead int64 `json:"docs_read"`
	// DocsWritten counts document revisions that the target accepted.
	DocsWritten int64 `json:"docs_written"`
	// DocWriteFailures counts document revisions that were rejected or skipped.
	DocWriteFailures int64 `json:"doc_write_failures"`
	// BulkGetDocs counts usable documents that _bulk_get answered.
	BulkGetDocs int64 `json:"bulk_get_docs"`
	// BulkGetAttempts counts revisions asked for with _bulk_get.
	BulkGetAttempts int64 `json:"bulk_get_attempts"`
	// BytesWritten counts the bytes of what DocsWritten counts. It is ours and
	// not part of a checkpoint.
	BytesWritten int64 `json:"-"`
}

// Add returns the sum of both, counter by counter.
func (s Stats) Add(o Stats) Stats {
	return s.merge(o, func(a, b int64) int64 { return a + b })
}

// Max returns the larger of both, counter by counter. CouchDB starts a session
// with the maximum of the counters it still had in memory and those of the
// newest checkpoint that both sides share, so that totals go on across sessions
// and never run backwards.
func (s Stats) Max(o Stats) Stats {
	return s.merge(o, func(a, b int64) int64 { return max(a, b) })
}

func (s Stats) merge(o Stats, f func(a, b int64) int64) Stats {
	return Stats{
		MissingChecked:   f(s.MissingChecked, o.MissingChecked),
		MissingFound:     f(s.MissingFound, o.MissingFound),
		DocsRead:         f(s.DocsRead, o.DocsRead),
		DocsWritten:      f(s.DocsWritten, o.DocsWritten),
		DocWriteFailures: f(s.DocWriteFailures, o.DocWriteFailures),
		BulkGetDocs:      f(s.BulkGetDocs, o.BulkGetDocs),
		BulkGetAttempts:  f(s.BulkGetAttempts, o.BulkGetAttempts),
		BytesWritten:     f(s.BytesWritten, o.BytesWritten),
	}
}
