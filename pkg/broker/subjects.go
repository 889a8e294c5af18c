package broker

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

var tokenEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// Token turns any name into an opaque subject token and bucket key: 32 lower
// case letters and digits, 160 bits of its SHA-256. Subjects and keys allow
// neither "+" nor "/", spaces or non-ASCII, and what stands in them must say
// nothing (invariant 9).
func Token(name string) string {
	sum := sha256.Sum256([]byte(name))
	return tokenEncoding.EncodeToString(sum[:20])
}

// Subjects builds the subjects of one installation. Every argument is a subject
// token: an id that is one already (see [Token]), or a site's name. Anything
// that could not be a token is replaced by its Token.
type Subjects struct{ namespace string }

// Any matches every token in one place of a subject.
const Any = "*"

// Changes carries the rows of a feed.
func (s Subjects) Changes(feed string) string { return s.build("changes", feed) }

// Owner holds the marker of a feed's owner, beside the feed's rows.
func (s Subjects) Owner(feed string) string { return s.build("owner", feed) }

// Selected carries what a job wants of its feed, to revs-diff at site.
func (s Subjects) Selected(site, job string) string { return s.build("selected", site, job) }

// Missing carries what a job's target lacks, to the doc-fetcher at site.
func (s Subjects) Missing(site, job string) string { return s.build("missing", site, job) }

// Again carries what has to be fetched once more, to the doc-fetcher at site. It has room
// of its own: Missing is full while the doc-fetcher waits for room in Write, which the
// bulk-writer can only make by asking again.
func (s Subjects) Again(site, job string) string {
	return s.build("missing", site, job+again)
}

// Large carries documents with large attachments, one a message, to the doc-fetcher at site:
// they wait for room for the contents, and nothing else shall wait behind them. What of
// them has to be fetched once more has room of its own, as with [Subjects.Again].
func (s Subjects) Large(site, job string) string { return s.build("large", site, job) }

// LargeAgain is for Large what [Subjects.Again] is for Missing.
func (s Subjects) LargeAgain(site, job string) string { return s.build("large", site, job+again) }

// again ends the last token of a subject that belongs to the job before it.
const again = "-again"

// Job is the job that a subject of a stage's work belongs to: of Selected, Missing, Large, Write, and
// those for what comes again.
func (s Subjects) Job(subject string) string {
	return strings.TrimSuffix(subject[strings.LastIndexByte(subject, '.')+1:], again)
}

// Write carries references to documents, to the bulk-writer at site.
func (s Subjects) Write(site, job string) string { return s.build("write", site, job) }

// WriteAgain is Write for what was fetched once more. It has room of its own: Write is full of parts whose
// bodies are gone while the bulk-writer waits for room in Again, which the doc-fetcher can only make by publishing
// what it has fetched once more.
func (s Subjects) WriteAgain(site, job string) string { return s.build("write", site, job+again) }

// Replay carries the orders to replay a feed's log for a job.
func (s Subjects) Replay(job string) string { return s.build("replay", job) }

// Bodies carries the documents of a feed.
func (s Subjects) Bodies(feed string) string { return s.build("bodies", feed) }

// Routed is the log of what the selector decided about a feed's batches.
func (s Subjects) Routed(feed string) string { return s.build("routed", feed) }

// Done is the log of what is finished of a job's batches.
func (s Subjects) Done(job string) string { return s.build("done", job) }

// Events carries what went wrong with a job.
func (s Subjects) Events(job string) string { return s.build("events", job) }

// Failures has the record of a job's rejected revision.
func (s Subjects) Failures(job, revision string) string { return s.build("failures", job, revision) }

// Refused has the document of that revision, if it is kept.
func (s Subjects) Refused(job, revision string) string { return s.build("refused", job, revision) }

// Replayed carries what comes of a replay of a job's rejected documents.
func (s Subjects) Replayed(job, replay string) string { return s.build("replayed", job, replay) }

// ReplayedMissing is Missing for replays of a job's rejected documents. They have room of their
// own, so that neither waits for the other, and are not taken away with a run.
func (s Subjects) ReplayedMissing(site, job string) string {
	return s.build("missing", site, ReplayToken(job))
}

// ReplayedWrite is Write for replays.
func (s Subjects) ReplayedWrite(site, job string) string {
	return s.build("write", site, ReplayToken(job))
}

// ReplayToken stands for a job where what its replays bring stands beside what its runs do.
func ReplayToken(job string) string { return Token("replay." + job) }

// Control is where the services of one side ("source" or "target") at a site
// answer questions about databases, by request and reply: no stream keeps it.
func (s Subjects) Control(side, site string) string { return s.build("control", side, site) }

// Status is where a job's owner says how it goes, for whoever watches: no stream
// keeps it.
func (s Subjects) Status(job string) string { return s.build("status", job) }

// Content holds the bytes of a large attachment, in chunks.
func (s Subjects) Content(id string) string { return s.build("attachments", id) }

func (s Subjects) claim(id string) string { return s.build("claims", id) }

func (s Subjects) build(kind string, tokens ...string) string {
	var b strings.Builder
	b.WriteString(s.namespace)
	b.WriteByte('.')
	b.WriteString(kind)
	for _, t := range tokens {
		b.WriteByte('.')
		if t != Any && !namespacePattern.MatchString(t) {
			t = Token(t)
		}
		b.WriteString(t)
	}
	return b.String()
}

// kind is the second token of a subject of this installation; empty for others.
func (s Subjects) kind(subject string) string {
	rest, ok := strings.CutPrefix(subject, s.namespace+".")
	if !ok {
		return ""
	}
	kind, _, _ := strings.Cut(rest, ".")
	return kind
}
