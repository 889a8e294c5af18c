package millpond_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"mime"
	"mime/multipart"
	"net/url"
	"strings"
	"testing"

	"millrace/pkg/couchgzip"
)

func gzipped(t testing.TB, text string) string {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// Contents of a type that CouchDB does not compress.
const (
	plain       = "application/x-plain"
	helloDigest = "md5-XUFAKrxLKna5cZ2REBfFkg==" // of "hello"
)

func TestInlineAttachments(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		stub := func(revpos string) string {
			return `{"content_type":"application/x-plain","revpos":` + revpos + `,"digest":"` + helloDigest + `","length":5,"stub":true}`
		}
		rev := db.send("PUT", "/a", `{"_attachments":{"b c/ü":{"content_type":"application/x-plain","data":"aGVsbG8="}}}`).revOf(t)
		db.converse([]exchange{
			{"GET", "/a", "", 200, `{"_id":"a","_rev":"1-HASH","_attachments":{"b c/ü":` + stub("1") + `}}`},
			{"GET", "/a?attachments=true", "", 200, `{"_id":"a","_rev":"1-HASH","_attachments":{"b c/ü":{"content_type":"application/x-plain","revpos":1,"digest":"` + helloDigest + `","data":"aGVsbG8="}}}`},
			{"PUT", "/a?rev=" + rev, `{"_attachments":{"b c/ü":{"stub":true},"z":{"content_type":"application/x-plain","data":"aGVsbG8="}}}`, 201, ""},
			{"GET", "/a", "", 200, `{"_id":"a","_rev":"2-HASH","_attachments":{"b c/ü":` + stub("1") + `,"z":` + stub("2") + `}}`},
			{"GET", "/a?atts_since=" + url.QueryEscape(`["`+rev+`"]`), "", 200,
				`{"_id":"a","_rev":"2-HASH","_attachments":{"b c/ü":` + stub("1") + `,"z":{"content_type":"application/x-plain","revpos":2,"digest":"` + helloDigest + `","data":"aGVsbG8="}}}`},
			{"POST", "/_bulk_get", `{"docs":[{"id":"a","atts_since":["` + rev + `"]}]}`, 200,
				`{"results":[{"id":"a","docs":[{"ok":{"_id":"a","_rev":"2-HASH","_attachments":{"b c/ü":` + stub("1") + `,"z":{"content_type":"application/x-plain","revpos":2,"digest":"` + helloDigest + `","data":"aGVsbG8="}}}}]}]}`},
			{"PUT", "/new", `{"_attachments":{"x":{"stub":true}}}`, 412, `{"error":"missing_stub","reason":"Invalid attachment stub in new for x"}`},
		})
		if r := db.send("GET", "/a/b%20c/%C3%BC", ""); r.body != "hello" || r.header.Get("Content-Type") != plain {
			t.Errorf("attachment %q of type %s", r.body, r.header.Get("Content-Type"))
		}
	})
}

func TestAttachmentsKeepAnEmptyType(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.send("PUT", "/a", `{"_attachments":{"none":{"data":"aGVsbG8="},"empty":{"content_type":"","data":"aGVsbG8="}}}`).revOf(t)
		stub := func(contentType string) string {
			return `{"content_type":"` + contentType + `","revpos":1,"digest":"` + helloDigest + `","length":5,"stub":true}`
		}
		db.converse([]exchange{
			{"GET", "/a", "", 200, `{"_id":"a","_rev":"1-HASH","_attachments":{"none":` + stub("application/octet-stream") + `,"empty":` + stub("") + `}}`},
		})
	})
}

func TestAttachmentsOfTheirOwn(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		first := db.send("PUT", "/a/f", "hello", "Content-Type", plain).revOf(t)
		r := db.send("GET", "/a/f", "")
		if r.body != "hello" || r.header.Get("ETag") != `"XUFAKrxLKna5cZ2REBfFkg=="` || r.header.Get("Content-Length") != "5" {
			t.Errorf("GET: %q %v", r.body, r.header)
		}
		if r := db.send("GET", "/a/f", "", "Range", "bytes=1-3"); r.status != 206 || r.body != "ell" {
			t.Errorf("range: %d %q", r.status, r.body)
		}
		second := db.send("PUT", "/a/g?rev="+first, "x", "Content-Type", plain).revOf(t)
		db.converse([]exchange{
			{"PUT", "/a/h", "x", 409, conflict},
			{"PUT", "/a/h?rev=7-abc", "x", 409, `{"error":"not_found","reason":"missing_rev"}`},
			{"PUT", "/a/_h", "x", 400, `{"error":"bad_request","reason":"Attachment name '_h' starts with prohibited character '_'"}`},
			{"GET", "/a/nope", "", 404, `{"error":"not_found","reason":"Document is missing attachment"}`},
			{"DELETE", "/a/nope?rev=" + second, "", 404, `{"error":"not_found","reason":"Document is missing attachment"}`},
			{"DELETE", "/a/f?rev=" + second, "", 200, `{"ok":true,"id":"a","rev":"3-HASH"}`},
			{"GET", "/a/f", "", 404, ""},
		})
		if r := db.send("GET", "/a/g", ""); r.body != "x" {
			t.Errorf("the other attachment: %q", r.body)
		}
	})
}

func TestGzippedAttachmentsStayAsTheyCame(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		packed := gzipped(t, "hello")
		if r := db.send("PUT", "/a/f", packed, "Content-Type", plain, "Content-Encoding", "gzip"); r.status != 201 {
			t.Fatalf("PUT: %d %s", r.status, r.body)
		}
		if r := db.send("GET", "/a/f", "", "Accept-Encoding", "gzip"); r.body != packed || r.header.Get("Content-Encoding") != "gzip" {
			t.Errorf("packed: %q, encoding %q", r.body, r.header.Get("Content-Encoding"))
		}
		if r := db.send("GET", "/a/f", ""); r.body != "hello" {
			t.Errorf("unpacked: %q", r.body)
		}
		doc := db.send("GET", "/a?att_encoding_info=true", "").body
		if !strings.Contains(doc, `"encoding":"gzip"`) || !strings.Contains(doc, `"encoded_length":`) {
			t.Errorf("document %s", doc)
		}
		if r := db.send("PUT", "/b/f", "x", "Content-Encoding", "br"); r.status != 415 {
			t.Errorf("brotli: %d %s", r.status, r.body)
		}
	})
}

func TestTextIsStoredAsZlibCompressesIt(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		for i, text := range []string{"", "x", strings.Repeat("a text that is compressed, ", 3000), gzipped(t, "no text")} {
			id := "/" + itoa(i)
			if r := db.send("PUT", id+"/f", text, "Content-Type", "text/plain; charset=utf-8"); r.status != 201 {
				t.Fatalf("PUT: %d %s", r.status, r.body)
			}
			if doc := db.send("GET", id, "").body; !strings.Contains(doc, `"digest":"`+couchgzip.Digest([]byte(text))+`"`) {
				t.Errorf("%d bytes: want %s in %s", len(text), couchgzip.Digest([]byte(text)), doc)
			}
		}
	})
}

func TestMultipartRelatedIsStoredAndReturned(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		packed := gzipped(t, "hello")
		doc := `{"_rev":"2-x","_revisions":{"start":2,"ids":["x","y"]},"v":1,"_attachments":{` +
			`"f":{"follows":true,"length":5,"content_type":"application/x-plain","revpos":1,"digest":"` + helloDigest + `"},` +
			`"g":{"follows":true,"length":5,"encoded_length":` + itoa(len(packed)) + `,"encoding":"gzip","content_type":"application/x-plain","revpos":2}}}`
		body := "--xyz\r\nContent-Type: application/json\r\n\r\n" + doc + "\r\n--xyz\r\n\r\nhello\r\n--xyz\r\n\r\n" + packed + "\r\n--xyz--"
		r := db.send("PUT", "/a?new_edits=false", body, "Content-Type", `multipart/related; boundary="xyz"`)
		if r.status != 201 {
			t.Fatalf("PUT: %d %s", r.status, r.body)
		}
		r = db.send("GET", "/a?open_revs=all&revs=true&latest=true", "", "Accept", "multipart/mixed")
		parts := relatedParts(t, r)
		if len(parts) != 3 || parts[1].body != "hello" || parts[2].body != packed || parts[2].encoding != "gzip" {
			t.Fatalf("parts %+v", parts)
		}
		db.sameJSON("first part", parts[0].body, strings.Replace(strings.Replace(doc, `{"_rev"`, `{"_id":"a","_rev"`, 1),
			`"revpos":2}`, `"revpos":2,"digest":"`+between(parts[0].body, `"revpos":2,"digest":"`, `"`)+`"}`, 1))
	})
}

func TestStubsTakeTheAncestorsAttachment(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{
			{"PUT", "/a?new_edits=false", `{"_rev":"1-x","_attachments":{"f":{"content_type":"application/x-plain","revpos":1,"data":"aGVsbG8="}}}`, 201, ""},
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_revisions":{"start":2,"ids":["y","x"]},"_attachments":{"f":{"stub":true,"revpos":1}}}]}`, 201, `[]`},
			{"GET", "/a?attachments=true", "", 200, `{"_id":"a","_rev":"2-y","_attachments":{"f":{"content_type":"application/x-plain","revpos":1,"digest":"` + helloDigest + `","data":"aGVsbG8="}}}`},
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_revisions":{"start":3,"ids":["z","y"]},"_attachments":{"f":{"stub":true,"revpos":2}}}]}`, 412, ""},
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"a","_revisions":{"start":3,"ids":["q","unknown"]},"_attachments":{"f":{"stub":true,"revpos":1}}}]}`, 412, ""},
		})
	})
}

func TestOpenRevsAsMultipart(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.converse([]exchange{{"PUT", "/a?new_edits=false", `{"_rev":"1-x"}`, 201, ""}})
		r := db.send("GET", "/a?open_revs="+url.QueryEscape(`["1-x","7-y"]`), "", "Accept", "multipart/mixed")
		parts := mixedParts(t, r)
		if len(parts) != 2 || parts[0].contentType != "application/json" || parts[1].contentType != `application/json; error="true"` {
			t.Fatalf("parts %+v", parts)
		}
		db.sameJSON("found", parts[0].body, `{"_id":"a","_rev":"1-x"}`)
		db.sameJSON("missing", parts[1].body, `{"missing":"7-y"}`)
	})
}

func TestBulkGetAsMultipart(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		rev := db.send("PUT", "/a/f", "hello", "Content-Type", plain).revOf(t)
		db.converse([]exchange{{"PUT", "/b?new_edits=false", `{"_rev":"1-x"}`, 201, ""}})
		r := db.send("POST", "/_bulk_get", `{"docs":[{"id":"a"},{"id":"b"},{"id":"nn"}]}`, "Accept", "multipart/mixed")
		parts := mixedParts(t, r)
		if len(parts) != 3 || parts[0].docID != "a" || parts[0].rev != rev || !strings.HasPrefix(parts[0].contentType, "multipart/related") {
			t.Fatalf("parts %+v", parts)
		}
		db.sameJSON("found", parts[1].body, `{"_id":"b","_rev":"1-x"}`)
		db.sameJSON("missing", parts[2].body, `{"id":"nn","rev":"undefined","error":"not_found","reason":"missing"}`)
	})
}

type part struct {
	contentType, encoding, docID, rev, body string
}

// mixedParts splits a multipart answer.
func mixedParts(t *testing.T, r response) []part {
	t.Helper()
	return split(t, r.header.Get("Content-Type"), r.body)
}

// relatedParts splits the only part of a multipart answer, which is multipart too.
func relatedParts(t *testing.T, r response) []part {
	t.Helper()
	outer := mixedParts(t, r)
	if len(outer) != 1 {
		t.Fatalf("parts %+v, want one", outer)
	}
	return split(t, outer[0].contentType, outer[0].body)
}

func split(t *testing.T, contentType, body string) (parts []part) {
	t.Helper()
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatalf("Content-Type %q: %v", contentType, err)
	}
	mr := multipart.NewReader(strings.NewReader(body), params["boundary"])
	for {
		p, err := mr.NextRawPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Fatalf("split %q: %v", body, err)
		}
		text, err := io.ReadAll(p)
		if err != nil {
			t.Fatalf("split %q: %v", body, err)
		}
		parts = append(parts, part{
			p.Header.Get("Content-Type"), p.Header.Get("Content-Encoding"),
			p.Header.Get("X-Doc-Id"), p.Header.Get("X-Rev-Id"), string(text),
		})
	}
}
