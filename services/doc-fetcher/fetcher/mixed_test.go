package fetcher

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"millrace/pkg/millpond"
	"millrace/services/internal/databasetest"
)

// tooLargeInside is an attachment that does not travel inside its document.
var tooLargeInside = strings.Repeat("0123456789abcdef", (inlineLimit+1024)/16)

// heavy is a source with documents whose attachments do not travel inside of them, and the
// batch of all its documents.
func heavy(t *testing.T, ids ...string) (*databasetest.Database, []string) {
	t.Helper()
	s := databasetest.New(t, millpond.Options{})
	for _, id := range ids {
		s.PutAttachment(t, id, "a.bin", tooLargeInside)
	}
	var docs []string
	for id, revs := range s.Leaves(t) {
		docs = append(docs, id+" "+strings.Join(revs, " "))
	}
	return s, docs
}

func TestAttachmentsThatKeepTheirEncodingComeManyInARequest(t *testing.T) {
	s, docs := heavy(t, "a", "b", "c")
	got := get(t, s.DB, missing(docs...), nil)
	if len(got.multi) != 3 || got.counters.DocsRead != 3 {
		t.Errorf("got %q", got.multi)
	}
	for _, p := range got.parts {
		for _, m := range p.Multiparts {
			size := 0
			for _, c := range m.Attachments[0].Chunks {
				chunk, err := got.read(p, c)
				if err != nil {
					t.Fatal(err)
				}
				size += len(chunk)
			}
			if size != len(tooLargeInside) {
				t.Errorf("%s: %d bytes", m.Doc.Docs[0].Id, size)
			}
		}
	}
	if n := s.Server.Requests(); n.Of("POST", "_bulk_get") != 2 || n.Of("GET", "doc") != 0 {
		t.Errorf("requests %v", n)
	}
}

func TestSourceWithoutMultipartAnswersIsAskedOneByOneAndRemembered(t *testing.T) {
	s, docs := heavy(t, "a", "b")
	// What takes JSON too gets JSON.
	target, err := url.Parse(strings.TrimSuffix(s.URL, "/db"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/_bulk_get") {
			r.Header.Set("Accept", "application/json")
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	got := get(t, open(t, front.URL+"/db"), missing(docs...), nil)
	if len(got.multi) != 2 || !got.unmixed {
		t.Errorf("got %q, remembered: %v", got.multi, got.unmixed)
	}
	if n := s.Server.Requests().Of("GET", "doc"); n != 2 {
		t.Errorf("%d documents were asked for singly", n)
	}
	before := s.Server.Requests().Of("POST", "_bulk_get")
	get(t, open(t, front.URL+"/db"), missing(docs...), func(f *fetch) { f.unmixed = true })
	if n := s.Server.Requests().Of("POST", "_bulk_get") - before; n != 1 {
		t.Errorf("%d requests in bulk of a source that is known to send no multipart", n)
	}
}

// The edit of a document costs its text, not its attachments.
func TestEditOfADocumentDoesNotTransferTheAttachmentThatTheTargetHas(t *testing.T) {
	s, docs := heavy(t, "d")
	first := strings.Fields(docs[0])[1]
	s.Write(t, `{"_id":"d","_rev":"2-bbbb","_revisions":{"start":2,"ids":["bbbb","`+strings.TrimPrefix(first, "1-")+
		`"]},"n":2,"_attachments":{"a.bin":{"stub":true,"content_type":"application/octet-stream","revpos":1}}}`)
	b := missing("d 2-bbbb")
	b.Docs[0].PossibleAncestors = []string{first}
	got := get(t, s.DB, b, nil)
	size := 0
	for _, body := range got.bodies {
		size += len(body)
	}
	if got.stubs != 1 || size > 1000 {
		t.Errorf("%d stubs, %d bytes", got.stubs, size)
	}
}
