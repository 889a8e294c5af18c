package replicator

import (
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

func statsOf(c *millracev1.Counters) replication.Stats {
	return replication.Stats{
		MissingChecked:   int64(c.GetMissingChecked()),
		MissingFound:     int64(c.GetMissingFound()),
		DocsRead:         int64(c.GetDocsRead()),
		DocsWritten:      int64(c.GetDocsWritten()),
		DocWriteFailures: int64(c.GetDocWriteFailures()),
		BulkGetDocs:      int64(c.GetBulkGetDocs()),
		BulkGetAttempts:  int64(c.GetBulkGetAttempts()),
		BytesWritten:     int64(c.GetBytesWritten()),
	}
}

func countersOf(s replication.Stats) *millracev1.Counters {
	return &millracev1.Counters{
		MissingChecked:   uint64(s.MissingChecked),
		MissingFound:     uint64(s.MissingFound),
		DocsRead:         uint64(s.DocsRead),
		DocsWritten:      uint64(s.DocsWritten),
		DocWriteFailures: uint64(s.DocWriteFailures),
		BulkGetDocs:      uint64(s.BulkGetDocs),
		BulkGetAttempts:  uint64(s.BulkGetAttempts),
		BytesWritten:     uint64(s.BytesWritten),
	}
}
