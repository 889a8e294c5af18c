package couch

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/rawdoc"
)

// readBulkGet reads an answer to _bulk_get. Documents are checked to be bytes of the
// answer (invariant 7).
func readBulkGet(t *testing.T, answer []byte) reader {
	return func(body io.Reader) (items []string, err error) {
		b := newBulkGetResults(io.NopCloser(body), fuzzed)
		last := -1
		for {
			item, err := b.Next()
			if err == io.EOF {
				return items, nil
			}
			if err != nil {
				return items, err
			}
			if item.Result < last {
				t.Errorf("result %d after %d", item.Result, last)
			}
			last = item.Result
			if item.Doc != nil {
				mustBeOf(t, item.Doc, answer)
				if item.Err != nil {
					t.Errorf("both a document and an error: %+v", item)
				}
			}
			items = append(items, fmt.Sprintf("%d %q %q %q %q %v", item.Result, item.ID, item.Doc, item.Meta.ID, item.Meta.Rev, item.Err))
		}
	}
}

// mustBeOf checks that a document is one object as it stands in the answer.
func mustBeOf(t *testing.T, doc, answer []byte) {
	t.Helper()
	if answer != nil && !bytes.Contains(answer, doc) {
		t.Errorf("%q does not stand in the answer", doc)
	}
	if !jsontext.Value(doc).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) || doc[0] != '{' {
		t.Errorf("%q is no document", doc)
	}
}

func FuzzBulkGet(f *testing.F) {
	for _, answer := range append(answers(f, "bulkget.json", "bulkget_"), nastyBulkGets()...) {
		f.Add(answer, uint16(len(answer)/2))
		f.Add(answer, uint16(len(answer)-2))
	}
	f.Fuzz(func(t *testing.T, answer []byte, cutAt uint16) {
		checkReading(t, answer, cutAt, readBulkGet(t, answer))
	})
}

func nastyBulkGets() [][]byte {
	return [][]byte{
		[]byte(`{"results":[{"id":"a","docs":[{"ok":` + strange[0] + `},{"error":{"error":"x"}}]},{"id":"b","docs":[]}]}`),
		[]byte(`{"results":[{"id":"a","docs":[{"ok":[]}]}]}`),
		[]byte(`{"results":[{}],"results":1}`),
		[]byte(`{"results":{}}`),
		[]byte(`{"results":[{"docs":[{"ok":{"n":1e400,"n":0.1000}},{"error":{"id":"x","rev":null,"error":"e","reason":{"a":1}}},{}],"id":"late"},{}]}`),
		[]byte(`{"results":[{"id":{"docs":[{"ok":{}}]}}]}`),
		[]byte(`{"results":[{"id":"a","docs":[{"ok":{"_attachments":{"a":{"length":-9223372036854775808,"follows":true}}}}]}],"results":[]}`),
		[]byte(`{"results":[]}{"results":[{"id":"a","docs":[]}]}`),
	}
}

// readRevisions reads an answer to open_revs, with attachments that follow.
func readRevisions(t *testing.T, contentType string, answer []byte) reader {
	return func(body io.Reader) (items []string, err error) {
		o := &OpenRevs{body: io.NopCloser(body), request: fuzzed}
		if err := o.begin(answered(contentType, body)); err != nil {
			return nil, err
		}
		for {
			rev, err := o.Next()
			if err == io.EOF {
				return items, nil
			}
			if err != nil {
				return items, err
			}
			if (rev.Doc == nil) == (rev.Missing == "") {
				t.Errorf("a revision is there or missing: %q, %q", rev.Doc, rev.Missing)
			}
			if rev.Doc != nil {
				mustBeOf(t, rev.Doc, answer)
			}
			items = append(items, fmt.Sprintf("%q %q", rev.Doc, rev.Missing))
			contents, err := readFollowing(t, rev, answer)
			items = append(items, contents...)
			if err != nil {
				return items, err
			}
		}
	}
}

// readFollowing reads the attachments that follow a document.
func readFollowing(t *testing.T, rev *OpenRev, answer []byte) (items []string, err error) {
	for {
		att, err := rev.NextAttachment()
		if err == io.EOF {
			return items, nil
		}
		if err != nil {
			return items, err
		}
		content, err := io.ReadAll(att)
		if err != nil {
			return items, err
		}
		if int64(len(content)) != att.StoredLength() || !bytes.Contains(answer, content) {
			t.Errorf("%q has %q, and %d bytes were announced", att.Name, content, att.StoredLength())
		}
		items = append(items, fmt.Sprintf("attachment %q %q", att.Name, content))
	}
}

func FuzzOpenRevs(f *testing.F) {
	for _, answer := range answers(f, "openrevs.json") {
		f.Add("application/json", answer, uint16(len(answer)/2))
	}
	for _, recorded := range answers(f, ".multipart") {
		head, answer, _ := bytes.Cut(recorded, []byte("\n"))
		contentType := string(bytes.TrimPrefix(head, []byte("Content-Type: ")))
		for cut := 0; cut <= len(answer); cut += 61 {
			f.Add(contentType, answer, uint16(cut))
		}
	}
	f.Add(`multipart/mixed; boundary="outer"`, []byte(openRevsAnswer), uint16(99))
	f.Add(`multipart/mixed; boundary=b`, related1(`"length":-5`), uint16(0))
	f.Add(`multipart/mixed; boundary=b`, related1(`"length":9223372036854775807`), uint16(0))
	f.Add(`multipart/mixed; boundary=b`, related1(`"length":3,"encoding":"gzip","encoded_length":-1`), uint16(0))
	f.Add(`multipart/mixed`, []byte("--\r\nContent-Type: application/json\r\n\r\n{}\r\n----"), uint16(0))
	f.Add(`multipart/mixed; boundary=b`, []byte("--b\r\nContent-Type: application/json\r\nX: --b--"), uint16(0))
	f.Add(`multipart/mixed; boundary=b`, []byte("--b\r\nContent-Type: application/json; error=\"true\"\r\n\r\n{}\r\n--b--"), uint16(0))
	f.Fuzz(func(t *testing.T, contentType string, answer []byte, cutAt uint16) {
		checkReading(t, answer, cutAt, readRevisions(t, contentType, answer))
	})
}

// related1 is an answer with one document, whose attachment is said to be so.
func related1(said string) []byte {
	return []byte("--b\r\nContent-Type: multipart/related; boundary=c\r\n\r\n--c\r\nContent-Type: application/json\r\n\r\n" +
		`{"_attachments":{"a":{"follows":true,` + said + `}}}` + "\r\n--c\r\n\r\nabc\r\n--c--\r\n--b--")
}

// FuzzRelated is the inner of two multipart layers alone: who splits the outer one hides
// most inputs from it.
func FuzzRelated(f *testing.F) {
	f.Add("c", []byte("--c\r\nContent-Type: application/json\r\n\r\n{}\r\n--c\r\n\r\nabc\r\n--c--"), "a", "text/plain", int64(3))
	f.Add("c", []byte("preamble\r\n--c\r\n\r\n{}\r\n--c\r\nContent-Disposition: attachment; filename=\"a\r\n\r\n\"\r\n\r\nabc\r\n--c--\r\n"), "a\r\n\r\n", "", int64(3))
	f.Add("c", []byte("--c\r\n\r\n{}\r\n--c--"), "a", "text/plain", int64(-1))
	f.Fuzz(func(t *testing.T, boundary string, answer []byte, name, contentType string, length int64) {
		read := func(body io.Reader) (items []string, err error) {
			r := newRelated(body, boundary)
			doc, err := r.document()
			if err != nil {
				return nil, fuzzed.cut(err)
			}
			items = append(items, string(doc))
			content, err := r.attachment(rawdoc.Attachment{Name: name, ContentType: contentType, Length: length})
			if err != nil {
				return items, fuzzed.cut(err)
			}
			all, err := io.ReadAll(content)
			if err != nil {
				return items, fuzzed.cut(err)
			}
			if int64(len(all)) != length {
				t.Errorf("%d bytes in place of %d", len(all), length)
			}
			return append(items, string(all)), nil
		}
		if len(answer) > 1<<15 || len(name)+len(contentType) > 1<<12 {
			t.Skip("the lengths of names do not count as sent")
		}
		for cut := 0; cut < len(answer); cut += max(1, len(answer)/7) {
			checkReading(t, answer, uint16(cut), read)
		}
	})
}
