package millpond_test

import (
	"crypto/md5"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"testing"
)

// digestOf is what CouchDB calls an attachment's digest.
func digestOf(data string) string {
	sum := md5.Sum([]byte(data))
	return "md5-" + base64.StdEncoding.EncodeToString(sum[:])
}

// stub is what a document says of an attachment.
type stub struct {
	ContentType   string `json:"content_type"`
	Digest        string
	Length        int
	Encoding      string
	EncodedLength int `json:"encoded_length"`
}

func (db *database) stub(id, name string) stub {
	db.t.Helper()
	var doc struct {
		Attachments map[string]stub `json:"_attachments"`
	}
	r := db.send("GET", "/"+id+"?att_encoding_info=true", "")
	if err := json.Unmarshal([]byte(r.body), &doc); err != nil {
		db.t.Fatalf("%s: %v", r.body, err)
	}
	return doc.Attachments[name]
}

// follows puts a document whose attachment f follows it.
func (db *database) follows(id, attachment string, parts ...string) response {
	db.t.Helper()
	body := "--xyz\r\nContent-Type: application/json\r\n\r\n" + `{"_rev":"1-x","_attachments":{"f":{"follows":true,` + attachment + `}}}`
	for _, part := range parts {
		body += "\r\n--xyz\r\n\r\n" + part
	}
	return db.send("PUT", "/"+id+"?new_edits=false", body+"\r\n--xyz--", "Content-Type", `multipart/related; boundary="xyz"`)
}

var words = strings.Repeat("hello world ", 20)

func TestTextIsStoredPacked(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		for i, c := range []struct {
			contentType string
			packed      bool
		}{
			{"text/plain", true}, {"text/plain; charset=utf-8", true}, {"TEXT/HTML", true}, {" text/plain", true}, {"text/", true},
			{"application/json", true}, {"application/json;x=1", true}, {"application/javascript", true}, {"application/xml", true},
			{"application/octet-stream", false}, {"image/svg+xml", false}, {"textual/x", false}, {"", false},
		} {
			inline := fmt.Sprintf("inline%d", i)
			db.converse([]exchange{{
				"PUT", "/" + inline, `{"_attachments":{"f":{"content_type":"` + c.contentType + `","data":"` +
					base64.StdEncoding.EncodeToString([]byte(words)) + `","digest":"md5-wrong"}}}`, 201, "",
			}})
			follows := fmt.Sprintf("follows%d", i)
			if r := db.follows(follows, fmt.Sprintf(`"content_type":%q,"length":%d,"digest":%q`, c.contentType, len(words), digestOf(words)), words); r.status != 201 {
				t.Errorf("%q follows: %d %s", c.contentType, r.status, r.body)
			}
			for _, id := range []string{inline, follows} {
				got := db.stub(id, "f")
				stored := db.send("GET", "/"+id+"/f", "", "Accept-Encoding", "gzip")
				if got.Length != len(words) || got.Digest != digestOf(stored.body) || (got.Encoding == "gzip") != c.packed ||
					c.packed && (got.EncodedLength != len(stored.body) || got.EncodedLength >= len(words) || stored.header.Get("Content-Encoding") != "gzip") {
					t.Errorf("%q in %s: %+v, stored %d bytes", c.contentType, id, got, len(stored.body))
				}
				if r := db.send("GET", "/"+id+"/f", ""); r.body != words || r.header.Get("Content-Length") != itoa(len(words)) {
					t.Errorf("%q in %s: %q, length %s", c.contentType, id, r.body, r.header.Get("Content-Length"))
				}
			}
		}
		db.send("PUT", "/empty/f", "", "Content-Type", "text/plain")
		if got := db.stub("empty", "f"); got.Length != 0 || got.Encoding != "gzip" || got.EncodedLength == 0 {
			t.Errorf("empty: %+v", got)
		}
	})
}

func TestPackedContentKeepsItsBytes(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		packed := gzipped(t, words)
		if r := db.follows("a", fmt.Sprintf(`"content_type":"text/plain","encoding":"gzip","length":%d,"encoded_length":%d,"digest":%q`,
			len(words), len(packed), digestOf(packed)), packed); r.status != 201 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		if got := db.stub("a", "f"); got != (stub{"text/plain", digestOf(packed), len(words), "gzip", len(packed)}) {
			t.Errorf("%+v", got)
		}
		// Beside inline data an encoding means nothing: it is packed once more.
		db.converse([]exchange{{"PUT", "/b", `{"_attachments":{"f":{"content_type":"text/plain","encoding":"gzip","data":"` +
			base64.StdEncoding.EncodeToString([]byte(packed)) + `"}}}`, 201, ""}})
		if got := db.stub("b", "f"); got.Length != len(packed) || got.Encoding != "gzip" {
			t.Errorf("inline: %+v", got)
		}
		db.send("PUT", "/c/f", packed, "Content-Type", "text/plain", "Content-Encoding", "gzip")
		if got := db.stub("c", "f"); got != (stub{"text/plain", digestOf(packed), len(packed), "gzip", len(packed)}) {
			t.Errorf("by itself: %+v", got)
		}
		if r := db.send("GET", "/c/f", ""); r.body != words || r.header.Get("Content-Length") != "" {
			t.Errorf("unpacked: %q, length %q", r.body, r.header.Get("Content-Length"))
		}
	})
}

func TestFollowingContentThatIsNotAsSaid(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		crash := `{"error":"unknown_error","reason":"function_clause","ref":`
		for said, c := range map[string]struct {
			status int
			answer string
		}{
			`"length":5,"digest":"md5-kAFQmDzST7DWlj99KOF/cg=="`:                             {500, crash},
			`"content_type":"text/plain","length":5,"digest":"md5-kAFQmDzST7DWlj99KOF/cg=="`: {500, crash},
			`"content_type":"x/y"`: {500, crash},
			`"length":4`:           {400, `{"error":"bad_request","reason":"attachment longer than expected"}`},
			`"length":6`:           {400, `{"error":"bad_request","reason":"attachment shorter than expected"}`},
			`"length":5},"g":{"follows":true,"length":1`:      {400, `{"error":"bad_request","reason":"attachment shorter than expected"}`},
			`"length":5,"digest":"` + digestOf("hello") + `"`: {201, `{"ok":true`},
		} {
			r := db.follows(fmt.Sprintf("%x", md5.Sum([]byte(said))), said, "hello")
			if r.status != c.status || !strings.HasPrefix(r.body, c.answer) {
				t.Errorf("%s: %d %s, want %d %s", said, r.status, r.body, c.status, c.answer)
			}
		}
		if r := db.follows("more", `"length":5`, "hello", "nobody asked for"); r.status != 201 {
			t.Errorf("a part too many: %d %s", r.status, r.body)
		}
		r := db.send("PUT", "/stub?new_edits=false", "--xyz\r\nContent-Type: application/json\r\n\r\n"+
			`{"_revisions":{"start":2,"ids":["b","a"]},"_attachments":{"f":{"stub":true,"revpos":1}}}`+"\r\n--xyz--", "Content-Type", `multipart/related; boundary="xyz"`)
		if r.status != 412 || !strings.Contains(r.body, `"missing_stub"`) {
			t.Errorf("a stub: %d %s", r.status, r.body)
		}
	})
}

func TestRanges(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		const content = "0123456789"
		db.send("PUT", "/a/f", content, "Content-Type", plain)
		db.send("PUT", "/t/f", content, "Content-Type", "text/plain")
		for header, want := range map[string]string{
			"bytes=0-3": "206 0123 bytes 0-3/10", "bytes=4-": "206 456789 bytes 4-9/10", "bytes=-3": "206 789 bytes 7-9/10",
			"bytes=0-0": "206 0 bytes 0-0/10", "bytes=5-99": "206 56789 bytes 5-9/10", "bytes=0-9": "206 0123456789 bytes 0-9/10",
			"bytes=0-": "200 0123456789 ", "items=0-1": "200 0123456789 ", "bytes=a-b": "200 0123456789 ", "": "200 0123456789 ",
			"bytes=10-": "416", "bytes=20-30": "416", "bytes=5-1": "416",
		} {
			r := db.send("GET", "/a/f", "", "Range", header, "If-Range", `"another"`)
			if r.status == 416 {
				db.sameJSON(header, r.body, `{"error":"requested_range_not_satisfiable","reason":"Requested range not satisfiable"}`)
				r.body = ""
			} else if r.header.Get("Accept-Ranges") != "bytes" || r.header.Get("ETag") == "" {
				t.Errorf("%s: header %v", header, r.header)
			}
			if got := fmt.Sprintf("%d %s %s", r.status, r.body, r.header.Get("Content-Range")); got != want && !(want == "416" && r.status == 416) {
				t.Errorf("%s\n got %s\nwant %s", header, got, want)
			}
			r = db.send("GET", "/t/f", "", "Range", header)
			if want != "416" && (r.status != 200 || r.body != content || r.header.Get("Accept-Ranges") != "none") || want == "416" && r.status != 416 {
				t.Errorf("%s of what is packed: %d %q, %v", header, r.status, r.body, r.header)
			}
		}
		r := db.send("GET", "/a/f", "", "Range", "bytes=0-1,5-6")
		kind, params, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
		if r.status != 206 || kind != "multipart/byteranges" {
			t.Fatalf("two ranges: %d %v", r.status, r.header)
		}
		parts := multipart.NewReader(strings.NewReader(r.body), params["boundary"])
		for _, want := range []string{"bytes 0-1/10 01", "bytes 5-6/10 56"} {
			part, err := parts.NextRawPart()
			if err != nil {
				t.Fatalf("%q: %v", r.body, err)
			}
			text, err := io.ReadAll(part)
			if got := part.Header.Get("Content-Range") + " " + string(text); got != want || err != nil {
				t.Errorf("part %s, want %s; %v", got, want, err)
			}
		}
		tag := db.send("GET", "/a/f", "").header.Get("ETag")
		if r := db.send("GET", "/a/f", "", "If-None-Match", tag); r.status != 304 || r.body != "" {
			t.Errorf("If-None-Match: %d %q", r.status, r.body)
		}
	})
}

func TestPackedContentIsSentPackedInMultipart(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.send("PUT", "/a/f", words, "Content-Type", "text/plain")
		stored := db.send("GET", "/a/f", "", "Accept-Encoding", "gzip").body
		for what, r := range map[string]response{
			"GET":       db.send("GET", "/a?attachments=true", "", "Accept", "multipart/related"),
			"any":       db.send("GET", "/a?attachments=true", "", "Accept", "*/*"),
			"open_revs": db.send("GET", "/a?open_revs=all&attachments=true", "", "Accept", "multipart/mixed"),
			"mixed":     db.send("POST", "/_bulk_get?attachments=true", `{"docs":[{"id":"a"}]}`, "Accept", "multipart/mixed"),
			"related":   db.send("POST", "/_bulk_get?attachments=true", `{"docs":[{"id":"a"}]}`, "Accept", "multipart/related"),
		} {
			parts := mixedParts(t, r)
			if len(parts) == 1 {
				parts = split(t, parts[0].contentType, parts[0].body)
			}
			if len(parts) != 2 || parts[1].body != stored || parts[1].encoding != "gzip" || !strings.Contains(parts[0].body, `"encoding":"gzip"`) {
				t.Errorf("%s: parts %+v", what, parts)
			}
		}
		for what, r := range map[string]response{
			"GET":                   db.send("GET", "/a?attachments=true", ""),
			"_bulk_get":             db.send("POST", "/_bulk_get?attachments=true", `{"docs":[{"id":"a"}]}`, "Accept", "*/*"),
			"_bulk_get of a choice": db.send("POST", "/_bulk_get?attachments=true", `{"docs":[{"id":"a"}]}`, "Accept", "multipart/mixed, application/json"),
		} {
			if !strings.Contains(r.body, `"data":"`+base64.StdEncoding.EncodeToString([]byte(words))+`"`) {
				t.Errorf("%s: %s", what, r.body)
			}
		}
	})
}
