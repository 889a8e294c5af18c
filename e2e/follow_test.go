package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"millrace/e2e/program"
)

// The steps of Elixir's test of a continuous replication.
func TestContinuousReplicationFollowsStepByStepAsInCouchDB(t *testing.T) {
	eachPair(t, func(s scenario) {
		numbered(s.T, s.source, 1, 25)
		save(s.T, s.source, "_design/mydesign", `"language":"javascript","filters":{"myfilter":"function(doc, req) { return true; }"}`)
		for i := 10; i < 15; i++ {
			attach(s.T, s.source, fmt.Sprint(i), "readme.txt", "text/plain", strings.Repeat(text1, 20))
		}
		r := s.replicate("--continuous", "--checkpoint-interval", "200ms")
		// Each step is there when as many revisions as in CouchDB's test were looked at, and both
		// databases are the same.
		step := func(checked int) {
			s.Helper()
			s.settled()
			r.Until(func(e program.Event) bool { return e.MissingChecked >= checked })
			s.same()
		}
		step(26)
		for i := 10; i < 15; i++ {
			attach(s.T, s.source, fmt.Sprint(i), "data.dat", "application/binary", data2)
		}
		attach(s.T, s.source, "_design/mydesign", "readme.txt", "text/plain", "some text")
		step(32)
		attach(s.T, s.source, "_design/mydesign", "data.dat", "application/binary", data2)
		step(33)
		numbered(s.T, s.source, 26, 35)
		step(43)
		_, before := seqs(s.T, s.target)
		save(s.T, s.source, "26", `"_deleted":true`)
		save(s.T, s.source, "32", `"_deleted":true`)
		step(45)
		if _, after := seqs(s.T, s.target); len(after) != len(before) {
			s.Errorf("%d documents before two were deleted, %d after", len(before), len(after))
		}

		if code := r.Interrupt(); code != program.ExitOK {
			s.Errorf("exit code %d after Ctrl-C", code)
		}
		save(s.T, s.source, "foobar", `"value":666`)
		if _, ids := seqs(s.T, s.target); slices.Contains(ids, "foobar") {
			s.Error("what was written after the end was copied")
		}
	})
}

// COUCHDB-885.
func TestAttachmentAddedToAReplicatedDocumentMakesNoConflict(t *testing.T) {
	eachReplicator(t, func(s scenario, replicate replicator) {
		save(s.T, s.source, "doc1", `"v":1`)
		s.counted(replicate(s, ""), 1, 1, 1, 1, 1, 0)
		save(s.T, s.source, "doc1", `"_attachments":{"hello.txt":{"content_type":"text/plain","data":"aGVsbG8gd29ybGQ="},`+
			`"foo.dat":{"content_type":"not/compressible","data":"aSBhbSBub3QgZ3ppcGVk"}}`)
		s.counted(replicate(s, ""), 2, 2, 2, 2, 2, 0)
		s.same()
		copied, _ := look(s.T, s.target, "doc1")
		if len(copied.Conflicts) > 0 || len(copied.Attachments) != 2 {
			s.Errorf("%+v", copied)
		}
		if a := copied.Attachments; s.pair.Shared().TextCompression && (a["hello.txt"].Encoding != "gzip" || a["foo.dat"].Encoding != "") {
			s.Errorf("%+v", a)
		}
	})
}

// A server keeps what it compressed, and the other gets it so, whatever that one would do itself:
// some do not compress.
func TestCompressedAttachmentStaysCompressed(t *testing.T) {
	eachReplicator(t, func(s scenario, replicate replicator) {
		if !s.pair.Source.TextCompression || !s.pair.Target.EncodedAttachments {
			s.Skip("nothing is compressed, or can be kept so")
		}
		save(s.T, s.source, "foobar", `"v":1`)
		attach(s.T, s.source, "foobar", "readme.txt", "text/plain", strings.Repeat(text1, 3000))
		s.counted(replicate(s, ""), 1, 1, 1, 1, 1, 0)
		there, _ := look(s.T, s.source, "foobar")
		copied, _ := look(s.T, s.target, "foobar")
		a := copied.Attachments["readme.txt"]
		if a.Encoding != "gzip" || a.EncodedLength >= a.Length || a != there.Attachments["readme.txt"] {
			s.Errorf("%+v, at the source %+v", a, there.Attachments["readme.txt"])
		}
	})
}
