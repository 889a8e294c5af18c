package fetcher

import (
	"bytes"
	"context"
	"crypto/md5"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/content"
	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
)

// cellar keeps contents in memory.
type cellar struct {
	contents map[string][]byte
	capacity int64 // 0 for any
	released int
}

func (c *cellar) Reserve(_ context.Context, wanted []content.Wanted) error {
	total := int64(0)
	for _, w := range wanted {
		total += w.Length
	}
	if c.capacity > 0 && total > c.capacity {
		return content.ErrTooLarge
	}
	return nil
}

func (c *cellar) Ensure(ctx context.Context, from content.Source) ([]byte, error) {
	if c.contents[from.ID] == nil {
		// As after a crash: half of it is there already.
		var all []byte
		for _, offset := range []int64{0, from.Length / 2} {
			r, err := from.Open(ctx, offset)
			if err != nil {
				return nil, err
			}
			rest, err := io.ReadAll(r)
			if err != nil {
				return nil, err
			}
			if err := r.Close(); err != nil {
				return nil, err
			}
			all = append(all[:offset], rest...)
		}
		c.contents[from.ID] = all
	}
	sum := md5.Sum(c.contents[from.ID])
	if from.MD5 != nil && !bytes.Equal(sum[:], from.MD5) {
		return nil, fmt.Errorf("%d bytes of %d with another digest", len(c.contents[from.ID]), from.Length)
	}
	return sum[:], nil
}

func (c *cellar) Release(context.Context) error { c.released++; return nil }
func (c *cellar) Scope() string                 { return "source" }

// veryLarge is an attachment that does not pass through BODIES.
var veryLarge = strings.Repeat("0123456789abcdef", (largeBytes+1024)/16)

// asOnePart makes the batch one that has to stay a part: that of a large document, or again.
func asOnePart(b *millracev1.MissingBatch) *millracev1.MissingBatch {
	b.Part = &millracev1.Part{Attempt: "a1", Number: 7}
	return b
}

// cellars is a source with documents with a large attachment each.
func cellars(t *testing.T, content string, ids ...string) (*databasetest.Database, []string) {
	t.Helper()
	s := databasetest.New(t, millpond.Options{})
	for _, id := range ids {
		s.PutAttachment(t, id, "a.bin", content)
	}
	var docs []string
	for id, revs := range s.Leaves(t) {
		docs = append(docs, id+" "+strings.Join(revs, " "))
	}
	slices.Sort(docs)
	return s, docs
}

func TestLargeDocumentsAreOrderedAsPartsOfTheirOwn(t *testing.T) {
	s, docs := cellars(t, veryLarge, "b", "c")
	s.Write(t, doc("a", "", a))
	got := get(t, s.DB, missing(append(docs, "a 1-aaaa")...), nil)
	expect(t, "packed", got.inline, "a 1-aaaa")
	expect(t, "ordered", got.ordered, docs[0]+" as 1", docs[1]+" as 2")
	if p := got.parts; len(p) != 1 || p[0].Part.Number != 3 || !p[0].Part.Last {
		t.Errorf("parts %v", p)
	}
	if n := s.Server.Requests(); n.Of("POST", "_bulk_get") != 1 || n.Of("GET", "doc") != 0 || n.Of("GET", "attachment") != 0 {
		t.Errorf("requests %v", n)
	}
}

func TestSameContentOfManyDocumentsIsFetchedOnce(t *testing.T) {
	s, docs := cellars(t, veryLarge, "b", "c", "d")
	got := get(t, s.DB, asOnePart(missing(docs...)), nil)
	expect(t, "with their attachments", got.multi, docs...)
	if len(got.cellar.contents) != 1 || got.cellar.released != 0 {
		t.Errorf("%d contents, released %d times", len(got.cellar.contents), got.cellar.released)
	}
	var names []string
	for _, m := range got.parts[0].Multiparts {
		ref := m.Attachments[0]
		names = append(names, ref.Content)
		if len(ref.Chunks) != 0 || ref.Length != uint64(len(veryLarge)) || string(got.cellar.contents[ref.Content]) != veryLarge {
			t.Errorf("%s refers to %v", m.Doc.Docs[0].Id, ref)
		}
		document, err := got.read(got.parts[0], m.Doc)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(document), `"follows":true`) || strings.Contains(string(document), `"stub"`) {
			t.Errorf("the document is %s", document)
		}
	}
	if len(slices.Compact(names)) != 1 {
		t.Errorf("contents %q", names)
	}
}

func TestSmallAttachmentsOfALargeDocumentPassThroughBodies(t *testing.T) {
	s := databasetest.New(t, millpond.Options{})
	s.Write(t, doc("d", `,"_attachments":{"small":{"content_type":"image/png","revpos":1,"data":"iVBORw0KGgo="},"large":{"content_type":"image/png","revpos":1,"data":"`+strings.Repeat("QUJD", largeBytes/3+1)+`"}}`, a))
	got := get(t, s.DB, asOnePart(missing("d 1-aaaa")), nil)
	if len(got.cellar.contents) != 1 {
		t.Fatalf("%d contents", len(got.cellar.contents))
	}
	for _, ref := range got.parts[0].Multiparts[0].Attachments {
		if kept := ref.Content != ""; kept != (ref.Name == "large") || kept == (len(ref.Chunks) == 1) {
			t.Errorf("%q: content %q, %d chunks", ref.Name, ref.Content, len(ref.Chunks))
		}
	}
}

// What the target has of a large document is not transferred, and takes no room.
func TestEditOfALargeDocumentFetchesNothingThatTheTargetHas(t *testing.T) {
	s, docs := cellars(t, veryLarge, "d")
	first := strings.Fields(docs[0])[1]
	s.Write(t, `{"_id":"d","_rev":"2-bbbb","_revisions":{"start":2,"ids":["bbbb","`+strings.TrimPrefix(first, "1-")+
		`"]},"n":2,"_attachments":{"a.bin":{"stub":true,"content_type":"application/octet-stream","revpos":1}}}`)
	b := asOnePart(missing("d 2-bbbb"))
	b.Docs[0].PossibleAncestors = []string{"1-unknown", first}
	got := get(t, s.DB, b, nil)
	if got.stubs != 1 || len(got.cellar.contents) != 0 || got.cellar.released != 1 {
		t.Errorf("%d stubs, %d contents, released %d times", got.stubs, len(got.cellar.contents), got.cellar.released)
	}
	if n := s.Server.Requests().Of("GET", "attachment"); n != 0 {
		t.Errorf("%d attachments were asked for", n)
	}
	b.FullAttachments = true
	if got := get(t, s.DB, b, nil); got.stubs != 0 || len(got.cellar.contents) != 1 {
		t.Errorf("in full: %d stubs, %d contents", got.stubs, len(got.cellar.contents))
	}
}

func TestAttachmentThatIsLargerThanAllRoomIsRejectedAndSaysWhatToRaise(t *testing.T) {
	s, docs := cellars(t, veryLarge, "d")
	got := get(t, s.DB, asOnePart(missing(docs...)), func(f *fetch) { f.contents.(*cellar).capacity = 1000 })
	if len(got.rejected) != 1 {
		t.Fatalf("rejected %v", got.rejected)
	}
	r := got.rejected[0]
	if r.Id != "d" || r.Status != http.StatusRequestEntityTooLarge || r.Error != "attachment_too_large" || !strings.Contains(r.Reason, "--attachments-capacity") {
		t.Errorf("rejected %v", r)
	}
	if n := s.Server.Requests().Of("GET", "attachment"); n != 0 {
		t.Errorf("%d attachments were read in vain", n)
	}
}

func TestTypesThatBreakHeadersAreReadBehindTheirDocuments(t *testing.T) {
	s := databasetest.New(t, millpond.Options{})
	s.Write(t, doc("d", `,"_attachments":{"first":{"content_type":"image/png","revpos":1,"data":"AAAA"},"large":{"content_type":"a/b\r\nX: y","revpos":1,"data":"`+strings.Repeat("QUJD", largeBytes/3+1)+`"}}`, a))
	got := get(t, s.DB, asOnePart(missing("d 1-aaaa")), nil)
	if len(got.cellar.contents) != 1 || len(got.rejected) != 0 {
		t.Errorf("%d contents, rejected %v", len(got.cellar.contents), got.rejected)
	}
}

func TestSinglyLargeDocumentsAreOrderedToo(t *testing.T) {
	s, docs := cellars(t, veryLarge, "d")
	got := get(t, s.DB, missing(docs...), func(f *fetch) { f.singly = true })
	expect(t, "ordered", got.ordered, docs[0]+" as 1")
	if len(got.multi) != 0 {
		t.Errorf("packed all the same: %q", got.multi)
	}
}

func TestLargeDocumentThatVanishedIsRecorded(t *testing.T) {
	s, docs := cellars(t, veryLarge, "d")
	got := get(t, s.DB, asOnePart(missing(docs[0], "gone 1-aaaa")), nil)
	if len(got.rejected) != 1 || got.rejected[0].Id != "gone" || len(got.multi) != 1 {
		t.Errorf("rejected %v, packed %q", got.rejected, got.multi)
	}
}

// PouchDB's server has no multipart: what cannot be asked for by its name stands in the document.
func TestAttachmentWithoutANameIsTakenOutOfTheDocumentWhereNothingFollows(t *testing.T) {
	s := databasetest.New(t, millpond.Options{})
	s.Write(t, doc("d", `,"_attachments":{"":{"content_type":"image/png","revpos":1,"data":"`+strings.Repeat("QUJD", largeBytes/3+1)+`"}}`, a))
	target, err := url.Parse(strings.TrimSuffix(s.URL, "/db"))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Accept", "application/json")
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	got := get(t, open(t, front.URL+"/db"), asOnePart(missing("d 1-aaaa")), nil)
	if len(got.cellar.contents) != 1 || len(got.rejected) != 0 || len(got.multi) != 1 {
		t.Errorf("%d contents, rejected %v, packed %q", len(got.cellar.contents), got.rejected, got.multi)
	}
}
