package verify

import (
	"strings"
	"sync/atomic"
	"time"
)

// Defaults of [Options].
const (
	DefaultMemory          = 64 << 20
	DefaultShown           = 20
	DefaultConcurrency     = 4
	DefaultRechecks        = 5
	DefaultRecheckInterval = 500 * time.Millisecond
	DefaultRecheckLimit    = 10_000
)

// minMemory is what sorting needs to be sensible: below it there would be more runs than rows in one.
const minMemory = 64 << 10

// Options say what is compared and at what cost. The zero value compares ids,
// leaves and whether the winner is deleted, of all documents.
type Options struct {
	// Bodies compares what the leaves hold: their own `_deleted`, bodies by JSON
	// value, `_revisions`, and what is said of their attachments.
	Bodies bool
	// DocIDs are the only documents compared. Nil means all.
	DocIDs []string
	// IgnoreDesign leaves out design documents, which replications often do.
	IgnoreDesign bool
	// WinningRevsOnly is for [CompareTargets]: the replications carry winning revisions only.
	WinningRevsOnly bool

	// Memory bounds what sorting holds, in bytes, for both databases together.
	// Default: [DefaultMemory]; less than 64 KiB counts as 64 KiB. Beside it, Bodies
	// holds one document at a time for each database and request under way.
	Memory int64
	// TempDir is where rows go that do not fit into Memory: about 30 bytes and the
	// differing end of its id for a document. Default: [os.TempDir].
	TempDir string
	// Concurrency is how many `_bulk_get` requests are under way at each database.
	// Default: [DefaultConcurrency].
	Concurrency int

	// Shown is how many differences the report lists; all are counted. Default:
	// [DefaultShown]; negative means none.
	Shown int

	// Rechecks is how often the documents that differ are looked at again while one
	// of the databases moves. Default: [DefaultRechecks]; negative means never.
	Rechecks int
	// RecheckInterval is the wait before each. Default: [DefaultRecheckInterval].
	RecheckInterval time.Duration
	// RecheckLimit is how many documents may differ for that; where more do, the
	// databases are not about to agree. Default: [DefaultRecheckLimit].
	RecheckLimit int
	// Settle looks again even if neither database has moved: a replication between
	// them may have work left that has not arrived yet.
	Settle bool

	// Progress is kept up to date, if it is not nil.
	Progress *Progress
}

// Progress counts what is done. It may be read while the comparison runs.
type Progress struct {
	Expected atomic.Int64 // rows that the two feeds together are about to have
	Read     atomic.Int64 // rows read
	Compared atomic.Int64 // documents compared, counting again those looked at again
}

func (o Options) withDefaults() Options {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	o.Memory = max(o.Memory, minMemory)
	o.Shown = orDefault(o.Shown, DefaultShown)
	o.Rechecks = orDefault(o.Rechecks, DefaultRechecks)
	o.RecheckLimit = orDefault(o.RecheckLimit, DefaultRecheckLimit)
	if o.Concurrency <= 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.RecheckInterval <= 0 {
		o.RecheckInterval = DefaultRecheckInterval
	}
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	return o
}

// ignores reports whether a document is left out.
func (o Options) ignores(id string) bool {
	return o.IgnoreDesign && strings.HasPrefix(id, "_design/")
}

// orDefault is the default for zero, and zero for what is negative.
func orDefault(n, def int) int {
	if n == 0 {
		return def
	}
	return max(n, 0)
}
