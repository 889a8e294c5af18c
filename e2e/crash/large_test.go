package crash

import (
	"bytes"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
	"millrace/pkg/broker"
	"millrace/pkg/millpond"
)

// A large attachment is killed on its way in both of its halves: while it is fetched and while
// it is uploaded. It is not read from its beginning again: what was stored of it stays, and who
// uploads it reads what is stored.
func TestLargeAttachmentIsGoneOnWithWhereItWasKilled(t *testing.T) {
	t.Parallel()
	const size, stall = 24 << 20, 12 << 20
	for _, c := range []struct {
		name, contentType string
		// again is how much may be read twice: of what the server stores packed there are no
		// ranges, and what is stored already is read and dropped.
		again int64
	}{
		{"stored as it is", "application/octet-stream", 4 << 20},
		{"stored packed", "text/plain", stall + 4<<20},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := pair{startServer(t, millpond.Options{}), startServer(t, millpond.Options{}), "large"}
			p.source.create(t, p.name)
			p.target.create(t, p.name)
			content := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(content) // never fails
			for _, doc := range []string{"one", "two"} {
				p.source.attach(t, "/large/"+doc+"/a.bin", c.contentType, content)
			}
			// The first reading comes to a halt in the middle, and so does the first upload.
			p.source.pond.Inject(millpond.Fault{
				Match: func(r *http.Request) bool {
					return r.Method == http.MethodGet && chaosproxy.Classify(r) == chaosproxy.Attachment
				},
				Times: 1, StallBodyAfter: stall,
			})
			p.target.pond.Inject(millpond.Fault{
				Match: func(r *http.Request) bool {
					return r.Method == http.MethodPut && chaosproxy.Classify(r) == chaosproxy.Document
				},
				Times: 1, Delay: time.Hour,
			})
			cluster := program.StartCluster(t, program.ClusterOptions{})
			r := cluster.Replicate(p.args()...)

			fetched := func() int64 { return p.source.proxy.Counts()[chaosproxy.Attachment].AnswerBytes }
			eventually(t, "half of the attachment is stored", func() bool { return stored(t, cluster) >= stall-1<<20 })
			cluster.Replace("doc-fetcher")
			uploaded := func() int64 { return p.target.proxy.Counts()[chaosproxy.Document].RequestBytes }
			eventually(t, "the attachment is being uploaded", func() bool { return uploaded() > 64<<10 })
			cluster.Replace("bulk-writer")
			if done := r.Completed(); done.DocsWritten != 2 || done.DocWriteFailures != 0 {
				t.Errorf("the replication ended with %+v", done)
			}
			// The content of the second document is that of the first.
			if n := fetched(); n > size+c.again {
				t.Errorf("%d bytes were read of an attachment of %d", n, size)
			}
			p.same(t)
			for _, doc := range []string{"one", "two"} {
				if got := p.target.must(t, http.MethodGet, "/large/"+doc+"/a.bin", nil); !bytes.Equal(got, content) {
					t.Errorf("%s: the attachment is another, of %d bytes", doc, len(got))
				}
			}
		})
	}
}

// attach puts an attachment, and its document with it.
func (s *server) attach(t *testing.T, path, contentType string, content []byte) {
	t.Helper()
	request := httptest.NewRequest(http.MethodPut, path, bytes.NewReader(content))
	request.Header.Set("Content-Type", contentType)
	answer := httptest.NewRecorder()
	s.pond.ServeHTTP(answer, request)
	if answer.Code != http.StatusCreated {
		t.Fatalf("%s: %d %s", path, answer.Code, answer.Body)
	}
}

// stored is how many bytes of large attachments the broker of a cluster has.
func stored(t *testing.T, cluster *program.Cluster) int64 {
	t.Helper()
	b, err := broker.Connect(within(t), broker.Options{URL: cluster.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(within(t)) //nolint:errcheck // it only looked
	stream, err := b.JetStream().Stream(within(t), b.Streams().Attachments)
	if err != nil {
		t.Fatal(err)
	}
	return int64(stream.CachedInfo().State.Bytes)
}
