package fetcher

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/couchgzip"
	"millrace/pkg/millpond"
	"millrace/pkg/rawdoc"
	"millrace/services/internal/databasetest"
)

const aText = "a text that is compressed, and a text that is compressed"

// likeTheServer is the level of a client that compresses with zlib.
const likeTheServer = 100

// upload puts an attachment that the client has compressed, unless level is 0.
func upload(t *testing.T, d *databasetest.Database, id, contentType, content string, level int) {
	t.Helper()
	body := bytes.NewBufferString(content)
	switch level {
	case 0:
	case likeTheServer:
		body = bytes.NewBuffer(couchgzip.Append(nil, []byte(content)))
	default:
		body.Reset()
		w, err := gzip.NewWriterLevel(body, level)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = w.Write([]byte(content))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, d.URL+"/"+id+"/t", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if level != 0 {
		req.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("upload: %s", resp.Status)
	}
}

// What the server compressed it compresses again to the same bytes; what a client did
// it would not.
func TestTextThatTheServerCompressedTravelsInsideItsDocument(t *testing.T) {
	s := databasetest.New(t, millpond.Options{})
	upload(t, s, "servers", "text/plain; charset=utf-8", aText, 0)
	upload(t, s, "json", "Application/JSON", `{"a":"`+aText+`"}`, 0)
	upload(t, s, "empty", "text/plain", "", 0)
	upload(t, s, "clients", "text/plain", aText, gzip.BestSpeed)
	upload(t, s, "clients-zlib", "text/plain", aText, likeTheServer)
	upload(t, s, "clients-image", "image/svg+xml", aText, gzip.BestCompression)
	upload(t, s, "long", "text/plain", strings.Repeat("x", unpackLimit+1), 0)
	var wants []string
	for id, revs := range s.Leaves(t) {
		wants = append(wants, id+" "+strings.Join(revs, " "))
	}
	got := get(t, s.DB, missing(wants...), nil)
	ids := func(revisions []string) string {
		var ids []string
		for _, r := range revisions {
			id, _, _ := strings.Cut(r, " ")
			ids = append(ids, id)
		}
		slices.Sort(ids)
		return strings.Join(ids, " ")
	}
	if ids(got.inline) != "empty json servers" || ids(got.multi) != "clients clients-image clients-zlib long" {
		t.Fatalf("inside %q, with parts %q", got.inline, got.multi)
	}
	docs, err := got.docs()
	if err != nil {
		t.Fatal(err)
	}
	for revision, doc := range docs {
		if revision.id != "servers" {
			continue
		}
		var said struct {
			Attachments map[string]map[string]any `json:"_attachments"`
		}
		if err := json.Unmarshal(doc, &said); err != nil {
			t.Fatal(err)
		}
		want := map[string]any{
			"content_type": "text/plain; charset=utf-8", "revpos": 1.0, "data": base64.StdEncoding.EncodeToString([]byte(aText)),
		}
		if fmt.Sprint(said.Attachments["t"]) != fmt.Sprint(want) {
			t.Errorf("%v, want %v", said.Attachments["t"], want)
		}
	}
	if n := s.Server.Requests(); n.Of("POST", "_bulk_get") != 2 {
		t.Errorf("requests %v", n)
	}
}

func TestWhatIsTriedToBeUnpacked(t *testing.T) {
	att := func(contentType, encoding string, length, stored int64) rawdoc.Attachment {
		return rawdoc.Attachment{Name: "x", ContentType: contentType, Encoding: encoding, Length: length, EncodedLength: stored, Follows: true}
	}
	for name, c := range map[string]struct {
		atts []rawdoc.Attachment
		want bool
	}{
		"text":             {[]rawdoc.Attachment{att("text/plain", "gzip", 100, 50)}, true},
		"a file, too":      {[]rawdoc.Attachment{att("text/plain", "gzip", 100, 50), att("image/png", "", 100, 0)}, true},
		"an image":         {[]rawdoc.Attachment{att("image/png", "gzip", 100, 50)}, false},
		"something else":   {[]rawdoc.Attachment{att("text/plain", "br", 100, 50)}, false},
		"large":            {[]rawdoc.Attachment{att("text/plain", "gzip", unpackLimit+1, 50)}, false},
		"large together":   {[]rawdoc.Attachment{att("text/plain", "gzip", unpackLimit, 50), att("text/plain", "gzip", 1, 21)}, false},
		"larger as stored": {[]rawdoc.Attachment{att("text/plain", "gzip", 1, unpackLimit+1)}, false},
		"just small":       {[]rawdoc.Attachment{att("text/plain", "gzip", unpackLimit, 50)}, true},
	} {
		if got := unpackable(rawdoc.Meta{Attachments: c.atts}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
