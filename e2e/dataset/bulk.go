package dataset

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"

	"golang.org/x/sync/errgroup"

	"millrace/e2e/peer"
)

// Owners is how many different owners the documents of Bulk have, in turn: of
// 50,000 documents each owner has 50.
const Owners = 1000

// concurrentRequests keeps a server busy without queueing in it.
const concurrentRequests = 4

// Bulk is n documents of about size bytes of JSON each, as an application would
// have: a type, an owner, dates, amounts, tags, an address and text. Each is a
// first revision, whose id is the same on every server.
func Bulk(n, size int) Dataset { return bulk(n, size, 0) }

// Attached is n small documents with one binary attachment of size bytes each.
func Attached(n, size int) Dataset { return bulk(n, 300, size) }

// BulkID is the id of document i of Bulk and Attached.
func BulkID(i int) string { return fmt.Sprintf("doc-%08d", i) }

// BulkOwner is the owner of document i of Bulk and Attached.
func BulkOwner(i int) string { return fmt.Sprintf("user-%03d", i%Owners) }

func bulk(n, size, attachment int) Dataset {
	return func(ctx context.Context, db string, _ peer.Capabilities, seed uint64) error {
		w, err := newWriter(db)
		if err != nil {
			return err
		}
		defer w.close()
		perRequest := max(1, min(docsPerRequest*2, bytesPerRequest/(size+attachment*4/3)))
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(concurrentRequests)
		var spare buffers
		for first := 0; first < n && ctx.Err() == nil; first += perRequest {
			group.Go(func() error {
				buf := spare.get()
				defer spare.put(buf)
				for i := first; i < min(first+perRequest, n); i++ {
					openBulk(buf, i-first)
					writeBulkDoc(buf, seed, i, size, attachment)
				}
				return w.finishBulk(ctx, buf)
			})
		}
		return group.Wait()
	}
}

// writeBulkDoc appends document i. Its revision is a hash of its seed and number:
// equal documents have equal revisions, on whatever server.
func writeBulkDoc(buf *bytes.Buffer, seed uint64, i, size, attachment int) {
	g := newGenerator(seed ^ uint64(i)<<20)
	hash := md5.Sum(fmt.Appendf(nil, "%d %d %d %d", seed, i, size, attachment))
	begin := buf.Len()
	fmt.Fprintf(buf, `{"_id":"%s","_rev":"1-%x","type":"order","owner":"%s"`, BulkID(i), hash, BulkOwner(i))
	fmt.Fprintf(buf, `,"number":%d,"created":"2026-%02d-%02dT%02d:%02d:00Z","paid":%t,"amount":%d.%02d`,
		i, 1+g.IntN(12), 1+g.IntN(28), g.IntN(24), g.IntN(60), g.IntN(2) == 0, g.IntN(1000), g.IntN(100))
	fmt.Fprintf(buf, `,"tags":["%s","%s"],"address":{"street":"%s %d","zip":"%05d","geo":[%d.%04d,%d.%04d]}`,
		g.word(), g.word(), g.word(), g.IntN(200), g.IntN(100_000), g.IntN(90), g.IntN(10_000), g.IntN(180), g.IntN(10_000))
	if attachment > 0 {
		buf.WriteString(`,"_attachments":{"photo":{"content_type":"image/png","revpos":1,"data":"`)
		begin += base64Into(buf, g.bytes(attachment))
		buf.WriteString(`"}}`)
	}
	buf.WriteString(`,"text":"`)
	for written := buf.Len() - begin; written < size-2; written = buf.Len() - begin {
		buf.WriteString(g.word())
		buf.WriteByte(' ')
	}
	buf.WriteString(`"}`)
}

// base64Into appends content in base64 and returns how many bytes that took.
func base64Into(buf *bytes.Buffer, content []byte) int {
	text := base64.StdEncoding.AppendEncode(buf.AvailableBuffer(), content)
	buf.Write(text)
	return len(text)
}

func (g generator) word() string { return words[g.IntN(len(words))] }
