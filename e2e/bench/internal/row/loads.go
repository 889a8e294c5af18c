package row

import (
	"fmt"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/corpus"
)

var megabytesPerSecond = contest.Column{Name: "MB/s", Unit: "MB/s", Decimals: 1}

// attachmentBatch is how many bytes of attachments, about, are in a request of the
// bare limit. _bulk_docs is cheapest between half and two megabytes.
const attachmentBatch = 1 << 20

// one is many documents without attachments.
func one(s *Setting) contest.Row {
	return &load{Setting: s, name: "one", rate: docsPerSecond,
		doc:   "initial load of one target: from the start of a replication to its end, all documents durable on the target",
		title: fmt.Sprintf("one target, %d documents of %d bytes", s.Docs, s.Size),
		make: func() (goods, error) {
			return &documents{corpus: corpus.New(s.Seed, s.Docs, s.Size, s.Batch)}, nil
		},
	}
}

// attachments is documents with an attachment each: one row without a distance
// between the two sides, and one with.
func attachments(s *Setting, name string, file corpus.File, what string) []contest.Row {
	near := load{Setting: s, name: name, rate: docsPerSecond,
		doc:   "one target, documents with one small attachment each: " + what,
		title: fmt.Sprintf("one target, %d documents with an attachment of %d bytes, %s", s.Attachments, s.AttachmentSize, what),
		make: func() (goods, error) {
			batch := min(max(1, attachmentBatch/max(1, s.AttachmentSize)), max(1, s.Batch))
			return &documents{attached: true, corpus: corpus.WithAttachments(s.Seed, s.Attachments, s.AttachmentSize, batch, file)}, nil
		},
	}
	return []contest.Row{&near, distant(near)}
}

// large is one document with a large attachment.
func large(s *Setting) []contest.Row {
	near := load{Setting: s, name: "large", rate: megabytesPerSecond,
		doc:   "one target, one document with a large attachment that does not compress",
		title: fmt.Sprintf("one target, one document with an attachment of %.0f MB", float64(s.Large)/1e6),
		make: func() (goods, error) {
			made, err := corpus.NewLarge(s.Seed, s.Large, corpus.Binary())
			return &bulky{made}, err
		},
	}
	return []contest.Row{&near, distant(near)}
}

// distant is the same load with the setting's round trip between the two sides.
func distant(l load) contest.Row {
	l.doc = fmt.Sprintf("%s, with a round trip between the two sides", l.name)
	l.name += "-far"
	l.title += fmt.Sprintf(", at a round trip of %v", l.RTT)
	l.far = true
	return &l
}
