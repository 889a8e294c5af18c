package millpond_test

import (
	"strings"
	"testing"

	"millrace/pkg/millpond"
)

// The size of a document is that of its own members with their braces: neither what
// CouchDB adds, nor attachments, nor white space around it count.
func TestDocumentsThatAreTooLarge(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		fits := strings.Repeat("x", millpond.DefaultMaxDocumentSize-len(`{"v":""}`))
		large := `"v":"` + fits + `x"`
		for _, s := range []exchange{
			{"PUT", "/a", `{` + large + `}`, 413, `{"error":"document_too_large","reason":""}`},
			{"PUT", "/a", `{"_id":"a",` + large + `}`, 413, `{"error":"document_too_large","reason":"a"}`},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":"ok"},{"_id":"b",` + large + `}]}`, 413, `{"error":"document_too_large","reason":"b"}`},
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"ok","_rev":"1-a"},{"_id":"b","_rev":"1-a",` + large + `}]}`, 413, `{"error":"document_too_large","reason":"b"}`},
			{"PUT", "/_local/a", `{` + large + `}`, 413, `{"error":"document_too_large","reason":""}`},
			{"GET", "/ok", "", 404, missing},
			{"PUT", "/fits", `   {"v":"` + fits + `"}`, 201, `{"ok":true,"id":"fits","rev":"1-HASH"}`},
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"fits","_revisions":{"start":2,"ids":["b","a"]},"_attachments":{"f":{"data":"QUFB"}},"v":"` + fits + `"}]}`, 201, `[]`},
		} {
			r := db.send(s.method, s.path, s.body)
			what := s.method + " " + s.path + " " + s.body[:min(len(s.body), 60)]
			if r.status != s.status {
				t.Fatalf("%s: %d %s, want %d", what, r.status, r.body, s.status)
			}
			db.sameJSON(what, r.body, s.want)
		}
	})
}

func TestIDsAndAttachmentNamesThatAreRefused(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		const badName = `{"error":"bad_request","reason":"Attachment name '_x' starts with prohibited character '_'"}`
		const reserved = `{"error":"illegal_docid","reason":"Only reserved document ids may start with underscore."}`
		db.converse([]exchange{
			{"PUT", "/a", `{"_attachments":{"_x":{"data":""}}}`, 400, badName},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":"ok"},{"_id":"a","_attachments":{"_x":{"data":""}}}]}`, 400, badName},
			{"PUT", "/a/_x", `x`, 400, badName},
			{"PUT", "/a/b/_x", `x`, 201, ""},
			{"PUT", "/_x", `{}`, 400, reserved},
			{"PUT", "/%FF", `{}`, 400, `{"error":"illegal_docid","reason":"Document id must be valid UTF-8"}`},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":"ok"},{"_id":"_x"}]}`, 400, reserved},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":"_local"}]}`, 400, reserved},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":""}]}`, 400, `{"error":"illegal_docid","reason":"Document id must not be empty"}`},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":5}]}`, 400, `{"error":"illegal_docid","reason":"Document id must be a string"}`},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":"a\u0000b"},{"_id":"` + strings.Repeat("i", 1000) + `"}]}`, 201, ""},
			{"GET", "/ok", "", 404, missing},
		})
	})
}

// An attachment's limit holds before that of requests, and before it is read.
func TestAttachmentsThatAreTooLargeAreNotRead(t *testing.T) {
	db := serve(t, millpond.Options{MaxAttachmentSize: 20, MaxRequestSize: 10}).database(t)
	const tooLarge = `{"error":"attachment_too_large","reason":"f"}`
	db.converse([]exchange{
		{"PUT", "/a/f", strings.Repeat("x", 21), 413, tooLarge},
		{"PUT", "/a/f", strings.Repeat("x", 20), 201, ""},
	})
	if r := db.send("PUT", "/b/f", strings.Repeat("x", 1<<20), "Expect", "100-continue"); r.status != 413 {
		t.Errorf("%d %s", r.status, r.body)
	}
}
