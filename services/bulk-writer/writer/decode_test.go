package writer

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"millrace/pkg/broker"
	"millrace/pkg/couch"
	"millrace/pkg/rawdoc"
	millracev1 "millrace/proto/millrace/v1"
)

func compressed(t *testing.T, content string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func upload(name, encoding string, content []byte) couch.Upload {
	return couch.Upload{
		Name: name, ContentType: "text/plain", Encoding: encoding, Length: int64(len(content)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}

// pouch takes documents as PouchDB does.
type pouch struct {
	doc      []byte
	contents map[string]string
	bulk     [][]byte // documents that came by _bulk_docs
	inline   bool     // doc came with its attachments inside
}

func newPouch() (*pouch, *apply) {
	p := &pouch{}
	return p, &apply{db: p}
}

func (p *pouch) BulkDocs(_ context.Context, docs [][]byte, _ couch.BulkDocsOptions) ([]couch.DocResult, error) {
	p.bulk = append(p.bulk, docs...)
	return nil, nil
}

func (p *pouch) PutMultipart(_ context.Context, _ string, doc []byte, atts []couch.Upload) error {
	p.doc, p.contents = doc, map[string]string{}
	for _, a := range atts {
		r, err := a.Open()
		if err != nil {
			return err
		}
		content, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		if int64(len(content)) != a.Length {
			return fmt.Errorf("%s: %d bytes were announced as %d", a.Name, len(content), a.Length)
		}
		p.contents[a.Name] = string(content)
	}
	return nil
}

func (p *pouch) PutInline(ctx context.Context, id string, doc []byte, atts []couch.Upload) error {
	p.inline = true
	return p.PutMultipart(ctx, id, doc, atts)
}

func TestLargeGzippedAttachmentsAreDecodedForATargetThatKnowsNoEncodings(t *testing.T) {
	text := strings.Repeat("the mill wheel ", 100_000)
	zipped := compressed(t, text)
	doc := fmt.Appendf(nil, `{"_id":"a","_rev":"4-x","n":1e400,"_attachments":{`+
		`"text":{"content_type":"text/plain","revpos":3,"digest":"md5-x","length":%d,"encoding":"gzip","encoded_length":%d,"follows":true},`+
		`"plain":{"content_type":"image/png","revpos":2,"digest":"md5-y","length":3,"follows":true},`+
		`"old":{"content_type":"image/png","revpos":1,"digest":"md5-z","length":3,"stub":true}}}`, len(text), len(zipped))
	uploads := []couch.Upload{upload("text", "gzip", zipped), upload("plain", "", []byte("png"))}

	p, a := newPouch()
	if err := a.plain(t.Context(), p, document{&millracev1.DocRef{Id: "a", Rev: "4-x"}, doc}, uploads); err != nil {
		t.Fatal(err)
	}
	if p.contents["text"] != text || p.contents["plain"] != "png" || len(a.written) != 1 {
		t.Errorf("text of %d bytes, %q, %d written", len(p.contents["text"]), p.contents["plain"], len(a.written))
	}
	meta, err := rawdoc.Scan(p.doc)
	if err != nil {
		t.Fatal(err)
	}
	want := rawdoc.Attachment{Name: "text", ContentType: "text/plain", RevPos: 3, Length: int64(len(text)), Follows: true}
	if got := meta.Attachments[0]; got.Name != want.Name || got.ContentType != want.ContentType || got.RevPos != want.RevPos ||
		got.Length != want.Length || !got.Follows || got.Encoding != "" || got.Digest != "" {
		t.Errorf("the document says %+v", got)
	}
	if got := meta.Attachments[1]; got.Digest != "md5-y" || got.Length != 3 || !got.Follows {
		t.Errorf("of the plain attachment it says %+v", got)
	}
	if !bytes.Contains(p.doc, []byte(`"n":1e400`)) || !bytes.Contains(p.doc, []byte(`"md5-z"`)) {
		t.Errorf("the document is %s", p.doc)
	}
}

// endless is an attachment of so many bytes that nobody reads.
func endless(name, contentType string, length int64) couch.Upload {
	return couch.Upload{Name: name, ContentType: contentType, Length: length, Open: func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(zeros{}, length)), nil
	}}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestLargeAttachmentsGoAsPartsWhereTheirHeadersCanBeRead(t *testing.T) {
	const large = plainInlineBytes + 1
	for name, c := range map[string]struct {
		name, contentType, body string
		length                  int64
		inline, rejected        bool
	}{
		"plain":            {name: "a b/\u00e9 \u6c34;x='y'", contentType: `x; a="b"`, length: large},
		"backslash":        {name: `c:\dir\name`, contentType: "x", length: large, inline: true},
		"quote":            {name: `say "x"`, contentType: "x", length: large, inline: true},
		"line break":       {name: "a\nb", contentType: "x", length: large, inline: true},
		"headers' end":     {name: "a\r\n\r\nb", contentType: "x", length: large, inline: true},
		"escapes":          {name: "100%22", contentType: "x", length: large, inline: true},
		"references":       {name: "&#65;", contentType: "x", length: large, inline: true},
		"no name":          {name: "", contentType: "x", length: large, inline: true},
		"long name":        {name: strings.Repeat("x", 2000), contentType: "x", length: large, inline: true},
		"type with breaks": {name: "a", contentType: "x\r\ny: z", length: large, inline: true},
		"type with spaces": {name: "a", contentType: " x", length: large, inline: true},
		"large document":   {name: "a", contentType: "x", body: strings.Repeat("x", 3<<20), length: large, inline: true},
		"too large":        {name: `a\b`, contentType: "x", length: plainStreamedBytes + 1, rejected: true},
		"large and plain":  {name: "a", contentType: "x", length: plainStreamedBytes + 1},
	} {
		t.Run(name, func(t *testing.T) {
			p, a := newPouch()
			d := document{&millracev1.DocRef{Id: "a", Rev: "1-x"}, fmt.Appendf(nil, `{"_id":"a","text":%q}`, c.body)}
			if err := a.plain(t.Context(), p, d, []couch.Upload{endless(c.name, c.contentType, c.length)}); err != nil {
				t.Fatal(err)
			}
			if c.rejected {
				if len(a.rejected) != 1 || a.rejected[0].Error != "attachment_too_large" || a.rejected[0].Reason == "" || p.doc != nil {
					t.Errorf("rejected: %v", a.rejected)
				}
				return
			}
			if p.doc == nil || p.inline != c.inline || len(a.written) != 1 || len(a.rejected) > 0 {
				t.Errorf("inline %t, %d written, rejected: %v", p.inline, len(a.written), a.rejected)
			}
		})
	}
}

func TestSmallAttachmentsTravelInsideTheDocumentToATargetThatKnowsNoEncodings(t *testing.T) {
	zipped := compressed(t, "the mill wheel")
	doc := fmt.Appendf(nil, `{"_id":"a","_rev":"4-x","n":1e400,"_attachments":{`+
		`"a\"\n\u00e9":{"content_type":"text/plain","revpos":3,"digest":"md5-x","length":14,"encoding":"gzip","encoded_length":%d,"follows":true},`+
		`"plain":{"content_type":"x; a=\"b\"","revpos":2,"digest":"md5-y","length":3,"follows":true},`+
		`"empty":{"content_type":"image/png","revpos":2,"digest":"md5-y","length":0,"follows":true},`+
		`"old":{"content_type":"image/png","revpos":1,"digest":"md5-z","length":3,"stub":true}}}`, len(zipped))
	plain := upload("plain", "", []byte("png"))
	plain.ContentType = `x; a="b"`
	empty := upload("empty", "", nil)
	empty.ContentType = "image/png"
	p, a := newPouch()
	err := a.plain(t.Context(), p, document{&millracev1.DocRef{Id: "a", Rev: "4-x"}, doc},
		[]couch.Upload{upload("a\"\n\u00e9", "gzip", zipped), plain, empty})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"_id":"a","_rev":"4-x","n":1e400,"_attachments":{` +
		`"a\"\n\u00e9":{"content_type":"text/plain","revpos":3,"data":"dGhlIG1pbGwgd2hlZWw="},` +
		`"plain":{"content_type":"x; a=\"b\"","revpos":2,"data":"cG5n"},` +
		`"empty":{"content_type":"image/png","revpos":2,"data":""},` +
		`"old":{"content_type":"image/png","revpos":1,"digest":"md5-z","length":3,"stub":true}}}`
	if len(p.bulk) != 1 || strings.ReplaceAll(string(p.bulk[0]), "\u00e9", `\u00e9`) != want || p.doc != nil || len(a.written) != 1 {
		t.Errorf("%d written:\n%s\nwant\n%s", len(a.written), p.bulk, want)
	}
}

func TestAttachmentThatCannotBeDecodedIsRejected(t *testing.T) {
	whole := compressed(t, strings.Repeat("x", 1000))
	for name, content := range map[string][]byte{
		"not gzipped": []byte("plain text all along"),
		"cut":         whole[:len(whole)-9],
		"too short":   whole[:5],
		"damaged":     append(bytes.Clone(whole[:len(whole)-8]), 1, 2, 3, 4, 5, 6, 7, 8),
	} {
		t.Run(name, func(t *testing.T) {
			doc := fmt.Appendf(nil, `{"_id":"a","_attachments":{"text":{"content_type":"text/plain","revpos":1,"encoding":"gzip","encoded_length":%d,"follows":true}}}`, len(content))
			p, a := newPouch()
			err := a.plain(t.Context(), p, document{&millracev1.DocRef{Id: "a", Rev: "1-x"}, doc}, []couch.Upload{upload("text", "gzip", content)})
			if err != nil || p.doc != nil || p.bulk != nil || len(a.rejected) != 1 || a.rejected[0].Reason == "" {
				t.Errorf("%v, rejected %v, written %s", err, a.rejected, p.doc)
			}
		})
	}
}

func TestEmptyAttachmentIsEmptyInAnyEncoding(t *testing.T) {
	p, a := newPouch()
	doc := []byte(`{"_id":"a","_attachments":{"text":{"content_type":"text/plain","revpos":1,"encoding":"gzip","encoded_length":0,"follows":true}}}`)
	err := a.plain(t.Context(), p, document{&millracev1.DocRef{Id: "a"}, doc}, []couch.Upload{upload("text", "gzip", nil)})
	if err != nil || len(p.bulk) != 1 || !bytes.Contains(p.bulk[0], []byte(`"data":""`)) {
		t.Errorf("%v, rejected %v, %s", err, a.rejected, p.bulk)
	}
}

func TestContentThatIsGoneIsNotTheAttachmentsFault(t *testing.T) {
	gone := upload("text", "gzip", nil)
	gone.Open = func() (io.ReadCloser, error) { return nil, broker.ErrGone }
	p, a := newPouch()
	doc := []byte(`{"_id":"a","_attachments":{"text":{"content_type":"text/plain","revpos":1,"encoding":"gzip","encoded_length":3,"follows":true}}}`)
	err := a.plain(t.Context(), p, document{&millracev1.DocRef{Id: "a"}, doc}, []couch.Upload{gone})
	if !errors.Is(err, broker.ErrGone) || len(a.rejected) != 0 {
		t.Errorf("%v, rejected %v", err, a.rejected)
	}
}

// answering says who it is, or does not.
type answering struct {
	info  couch.ServerInfo
	err   error
	asked int
}

func (s *answering) Server(context.Context) (couch.ServerInfo, error) {
	s.asked++
	return s.info, s.err
}

func TestTargetIsAskedOnceWhetherItKnowsEncodings(t *testing.T) {
	pouchdb := couch.ServerInfo{Pouch: "Welcome!"}
	for name, c := range map[string]struct {
		server *answering
		plain  bool
		fails  bool
		asked  int
	}{
		"CouchDB":              {server: &answering{}, asked: 1},
		"PouchDB":              {server: &answering{info: pouchdb}, plain: true, asked: 1},
		"behind a proxy":       {server: &answering{err: &couch.HTTPError{Status: http.StatusForbidden}}, asked: 1},
		"down for the moment":  {server: &answering{err: &couch.HTTPError{Status: http.StatusServiceUnavailable}}, fails: true, asked: 2},
		"no answer whatsoever": {server: &answering{err: io.ErrUnexpectedEOF}, fails: true, asked: 2},
	} {
		t.Run(name, func(t *testing.T) {
			var d dialects
			for range 2 {
				plain, err := d.plainOnly(t.Context(), &millracev1.EndpointRef{Id: "e"}, c.server)
				if plain != c.plain || (err != nil) != c.fails {
					t.Errorf("%t, %v", plain, err)
				}
			}
			if c.server.asked != c.asked {
				t.Errorf("asked %d times", c.server.asked)
			}
		})
	}
}

func (p *pouch) WriteBeside(context.Context, string) error { return nil }
