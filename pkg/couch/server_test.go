package couch

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace/pkg/rawdoc"
)

// onServers runs the test on a new database of every server in
// MILLRACE_TEST_COUCHDB (URLs with credentials, separated by commas).
func onServers(t *testing.T, test func(t *testing.T, open func(name string) *DB)) {
	t.Helper()
	list := os.Getenv("MILLRACE_TEST_COUCHDB")
	if list == "" {
		t.Skip("MILLRACE_TEST_COUCHDB names no servers")
	}
	for _, server := range strings.Split(list, ",") {
		u := mustURL(server)
		t.Run(u.Host, func(t *testing.T) {
			test(t, func(name string) *DB {
				db := openAt(t, strings.TrimRight(server, "/")+"/"+escape("millrace_couch_"+strings.ToLower(rand.Text())+name), Options{})
				require.NoError(t, db.Create(context.Background(), nil))
				t.Cleanup(func() { require.NoError(t, db.Delete(context.Background())) })
				return db
			})
		})
	}
}

func TestServerDatabaseLifeCycle(t *testing.T) {
	onServers(t, func(t *testing.T, open func(string) *DB) {
		ctx := context.Background()
		db := open("/a+b$()")
		require.ErrorIs(t, db.Create(ctx, nil), ErrExists)
		info, err := db.Info(ctx)
		require.NoError(t, err)
		require.NotEmpty(t, info.Name) // PouchDB drops the slash
		_, err = db.Server(ctx)
		require.NoError(t, err)
		_, err = db.EnsureFullCommit(ctx)
		require.NoError(t, err)

		var none map[string]any
		require.True(t, IsNotFound(db.GetLocal(ctx, "chk/1+2", &none)))
		rev, err := db.PutLocal(ctx, "chk/1+2", map[string]any{"seq": "5-x"})
		require.NoError(t, err)
		_, err = db.PutLocal(ctx, "chk/1+2", map[string]any{"_rev": rev, "seq": "6-x"})
		require.NoError(t, err)
		var got struct{ Seq Seq }
		require.NoError(t, db.GetLocal(ctx, "chk/1+2", &got))
		require.Equal(t, "6-x", got.Seq.String())
	})
}

// tree writes a document with two leaves, a tombstone, and strange ids, and returns their ids.
func tree(t *testing.T, db *DB) []string {
	t.Helper()
	ids := []string{"a/b+c %d", "é", "_design/x y/z", "dead"}
	var docs [][]byte
	for _, id := range ids[:3] {
		for _, leaf := range []string{"2-" + strings.Repeat("a", 32), "2-" + strings.Repeat("b", 32)} {
			docs = append(docs, fmt.Appendf(nil, `{"_id":%q,"_rev":%q,"n":0.1000,"big":123456789012345678901234567890,"_revisions":{"start":2,"ids":[%q,%q]}}`,
				id, leaf, leaf[2:], strings.Repeat("0", 32)))
		}
	}
	docs = append(docs, fmt.Appendf(nil, `{"_id":"dead","_rev":"1-%[1]s","_deleted":true,"_revisions":{"start":1,"ids":[%[1]q]}}`, strings.Repeat("c", 32)))
	results, err := db.BulkDocs(context.Background(), docs, BulkDocsOptions{Gzip: true})
	require.NoError(t, err)
	for _, r := range results {
		require.NoError(t, r.Failure())
	}
	return ids
}

func TestServerReplicatesATree(t *testing.T) {
	onServers(t, func(t *testing.T, open func(string) *DB) {
		ctx := context.Background()
		source, target := open("s"), open("t")
		ids := tree(t, source)

		changes, feed, err := rows(t, source, ChangesOptions{})
		require.Equal(t, io.EOF, err)
		require.Len(t, changes, len(ids))
		require.False(t, feed.LastSeq().IsNull())
		var diff []IDRevs
		for _, row := range changes {
			diff = append(diff, IDRevs{ID: row.ID, Revs: row.Revs})
		}
		missing, err := target.RevsDiff(ctx, diff)
		require.NoError(t, err)
		require.Len(t, missing, len(ids))
		var wanted []BulkGetRequest
		for _, m := range missing {
			for _, rev := range m.Revs {
				wanted = append(wanted, BulkGetRequest{ID: m.ID, Rev: rev})
			}
		}
		wanted = append(wanted, BulkGetRequest{ID: "none", Rev: "1-abc"})
		b, err := source.BulkGet(ctx, wanted, BulkGetOptions{Revs: true, Latest: true, Gzip: true})
		require.NoError(t, err)
		items, err := collect(b)
		require.Equal(t, io.EOF, err)
		require.NoError(t, b.Close())
		var docs [][]byte
		refused := 0
		for _, item := range items {
			if item.Doc == nil {
				refused++
				require.Equal(t, "none", item.ID)
				continue
			}
			require.Equal(t, item.ID, item.Meta.ID)
			docs = append(docs, item.Doc)
		}
		require.Equal(t, 1, refused)
		require.Len(t, docs, 7)
		results, err := target.BulkDocs(ctx, docs, BulkDocsOptions{})
		require.NoError(t, err)
		for _, r := range results {
			require.NoError(t, r.Failure())
		}
		missing, err = target.RevsDiff(ctx, diff)
		require.NoError(t, err)
		require.Empty(t, missing)
		for _, id := range ids[:3] {
			doc, err := target.Get(ctx, id, nil)
			require.NoError(t, err)
			original, err := source.Get(ctx, id, nil)
			require.NoError(t, err)
			require.Equal(t, string(original), string(doc))
		}
		pending, err := source.Pending(ctx, Seq{})
		require.NoError(t, err)
		require.Contains(t, []int64{-1, int64(len(ids))}, pending)
	})
}

func TestServerFeedsByIdAndInterval(t *testing.T) {
	onServers(t, func(t *testing.T, open func(string) *DB) {
		db := open("")
		ids := tree(t, db)
		got, _, err := rows(t, db, ChangesOptions{DocIDs: ids[1:3]})
		require.Equal(t, io.EOF, err)
		require.Len(t, got, 2)
		got, _, err = rows(t, db, ChangesOptions{SeqInterval: 2, Limit: 3, IncludeDocs: true})
		require.Equal(t, io.EOF, err)
		require.Len(t, got, 3)
		for _, row := range got {
			m, err := rawdoc.Scan(row.Doc)
			require.NoError(t, err)
			require.Equal(t, row.ID, m.ID)
		}
	})
}

func TestServerContinuousFeedDeliversWhatIsWritten(t *testing.T) {
	onServers(t, func(t *testing.T, open func(string) *DB) {
		ctx := context.Background()
		db := open("")
		beat := make(chan struct{}, 100)
		c, err := db.Changes(ctx, ChangesOptions{Feed: FeedContinuous, Heartbeat: 100 * time.Millisecond, OnHeartbeat: func() { beat <- struct{}{} }})
		require.NoError(t, err)
		defer func() { require.NoError(t, c.Close()) }()
		wrote := make(chan error, 1)
		go func() {
			<-beat // the feed is quiet: it has begun
			_, err := db.Put(ctx, "late", []byte(`{"x":1}`), nil)
			wrote <- err
		}()
		row, err := c.Next()
		require.NoError(t, err)
		require.NoError(t, <-wrote)
		require.Equal(t, "late", row.ID)
	})
}

func TestServerCarriesAttachmentsByMultipart(t *testing.T) {
	onServers(t, func(t *testing.T, open func(string) *DB) {
		ctx := context.Background()
		source, target := open("s"), open("t")
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		_, err := io.WriteString(z, strings.Repeat("text ", 1000))
		require.NoError(t, err)
		require.NoError(t, z.Close())
		binary := strings.Repeat("\x00\xff\r\n--", 100_000)
		rev := strings.Repeat("d", 32)
		doc := fmt.Appendf(nil, `{"_id":"a/b","_rev":"1-%[1]s","_revisions":{"start":1,"ids":[%[1]q]},"_attachments":{`+
			`"say é/+ %%.txt":{"content_type":"text/plain","revpos":1,"length":5000,"encoding":"gzip","encoded_length":%[2]d,"follows":true},`+
			`"bin":{"content_type":"application/octet-stream","revpos":1,"length":%[3]d,"follows":true},`+
			`"empty":{"content_type":"image/png","revpos":1,"length":0,"follows":true}}}`, rev, zipped.Len(), len(binary))
		require.NoError(t, source.PutMultipart(ctx, "a/b", doc, []Upload{
			upload("bin", "application/octet-stream", "", binary),
			upload("say é/+ %.txt", "text/plain", "gzip", zipped.String()),
			upload("empty", "image/png", "", ""),
		}))
		copyRevs(t, source, target, "a/b")

		var stubs [2]json.RawMessage
		for i, db := range []*DB{source, target} {
			got, err := db.Get(ctx, "a/b", url.Values{"att_encoding_info": {"true"}, "revs": {"true"}})
			require.NoError(t, err)
			stubs[i] = got
		}
		require.JSONEq(t, string(stubs[0]), string(stubs[1]))
		meta, err := rawdoc.Scan(stubs[1])
		require.NoError(t, err)
		want := map[string]string{"bin": binary, "say é/+ %.txt": zipped.String(), "empty": ""}
		for _, a := range meta.Attachments {
			att, err := target.GetAttachment(ctx, "a/b", "1-"+rev, a.Name, a.Encoding)
			require.NoError(t, err)
			got, err := io.ReadAll(att)
			require.NoError(t, err)
			require.NoError(t, att.Close())
			require.Equal(t, a.Encoding, att.Encoding)
			require.True(t, want[a.Name] == string(got), a.Name)
			delete(want, a.Name)
		}
		require.Empty(t, want)
	})
}

// copyRevs copies all leaves of a document, streaming attachments from answer to request.
func copyRevs(t *testing.T, source, target *DB, id string) {
	t.Helper()
	ctx := context.Background()
	o, err := source.OpenRevs(ctx, id, nil, OpenRevsOptions{Revs: true, Latest: true, Attachments: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, o.Close()) }()
	for {
		rev, err := o.Next()
		if err == io.EOF {
			return
		}
		require.NoError(t, err)
		var atts []Upload
		for _, a := range rev.Meta.Following() {
			atts = append(atts, Upload{
				Name: a.Name, ContentType: a.ContentType, Encoding: a.Encoding, Length: a.StoredLength(),
				Open: func() (io.ReadCloser, error) {
					following, err := rev.NextAttachment()
					if err != nil {
						return nil, err
					}
					require.Equal(t, a.Name, following.Name)
					return io.NopCloser(following), nil
				},
			})
		}
		require.NoError(t, target.PutMultipart(ctx, id, rev.Doc, atts))
	}
}

func TestServerOpenRevsNamesMissingRevisions(t *testing.T) {
	onServers(t, func(t *testing.T, open func(string) *DB) {
		db := open("")
		ids := tree(t, db)
		for _, atts := range []bool{false, true} {
			o, err := db.OpenRevs(context.Background(), ids[2], []string{"2-" + strings.Repeat("a", 32), "9-" + strings.Repeat("f", 32)}, OpenRevsOptions{Attachments: atts})
			require.NoError(t, err)
			var docs, missing int
			for {
				rev, err := o.Next()
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
				if rev.Doc != nil {
					docs++
					require.Equal(t, ids[2], rev.Meta.ID)
				}
				if rev.Missing != "" {
					missing++
				}
			}
			require.NoError(t, o.Close())
			require.Equal(t, []int{1, 1}, []int{docs, missing})
		}
	})
}

func TestServerRefusalsAreClassified(t *testing.T) {
	onServers(t, func(t *testing.T, open func(string) *DB) {
		ctx := context.Background()
		db := open("")
		_, err := db.Put(ctx, "_design/v", []byte(`{"validate_doc_update":"function(n){if(n.bad){throw({forbidden:'no bad ones'})}}"}`), nil)
		require.NoError(t, err)
		rev := strings.Repeat("e", 32)
		results, err := db.BulkDocs(ctx, [][]byte{
			fmt.Appendf(nil, `{"_id":"x","bad":true,"_rev":"1-%[1]s","_revisions":{"start":1,"ids":[%[1]q]}}`, rev),
			fmt.Appendf(nil, `{"_id":"y","_rev":"1-%[1]s","_revisions":{"start":1,"ids":[%[1]q]}}`, rev),
		}, BulkDocsOptions{})
		require.NoError(t, err)
		var failures []error
		for _, r := range results {
			if r.Failure() != nil {
				failures = append(failures, r.Failure())
				require.Equal(t, "x", r.ID)
			}
		}
		require.Len(t, failures, 1)
		require.Equal(t, PerDocument, Classify(failures[0]))
		_, err = db.Put(ctx, "z", []byte(`{"bad":true}`), nil)
		require.True(t, IsForbidden(err), err)
		require.Equal(t, PerDocument, Classify(err))
		_, err = db.BulkDocs(ctx, [][]byte{[]byte(`{"_id":"u","_unknown":1}`)}, BulkDocsOptions{})
		require.Equal(t, PerDocument, Classify(err), err)
	})
}

func TestServerIsReachedThroughProxies(t *testing.T) {
	onServers(t, func(t *testing.T, open func(string) *DB) {
		direct := open("")
		behind := &proxy{}
		plain := httptest.NewServer(behind)
		t.Cleanup(plain.Close)
		five, names := socks(t)
		for _, at := range []string{plain.URL, "socks5://" + five} {
			u := mustURL(at)
			u.User = url.UserPassword("u@", "p:s")
			db, err := Open(direct.endpoint, Options{Proxy: u, Retries: -1})
			require.NoError(t, err)
			requireInfo(t, db)
			_, _, err = rows(t, db, ChangesOptions{})
			require.Equal(t, io.EOF, err)
			db.Close()
		}
		require.NotEmpty(t, behind.asked)
		require.NotEmpty(t, names())
	})
}
