package fetcher

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/rawdoc"
)

const (
	// inlineLimit is how many bytes of attachments, as stored, are asked for in one
	// _bulk_get, and how large those of a document may be to travel inside it.
	// In Base64 a third more is in memory at once (invariant 5).
	inlineLimit = 1 << 20
	// mixedLimit is how many bytes of attachments, as stored, are asked for in one request
	// that is answered with multipart. They are read as a stream; the bound is on what is
	// read again when it breaks.
	mixedLimit = partBytes
	// requestsAtOnce is how many requests for attachments a batch makes at once. With four
	// batches of a job at once they leave some of CouchDB's 20 http_connections to others.
	requestsAtOnce = 4
)

// atOnce calls do for the numbers below n, some at once, and for no more once one has failed.
// Those under way are waited for and not cancelled: what they have published is bound to
// their context beyond their end.
func atOnce(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	var group errgroup.Group
	group.SetLimit(requestsAtOnce)
	var failed atomic.Bool
	for i := range n {
		if failed.Load() {
			break
		}
		group.Go(func() error {
			err := do(ctx, i)
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	return group.Wait()
}

// attachments fetches documents with their attachments, in the way in which each comes out
// faithful, in requests of many.
func (f *fetch) attachments(ctx context.Context, wants []want) error {
	inline, mixed := gathering{limit: inlineLimit}, gathering{limit: mixedLimit}
	for _, w := range wants {
		switch bytes, ok := inlineable(w.attachments); {
		case ok:
			inline.add(w, bytes)
		case bytes > largeBytes:
			f.setAside(w)
		default:
			mixed.add(w, bytes)
		}
	}
	groups := append(inline.groups, mixed.groups...)
	return atOnce(ctx, len(groups), func(ctx context.Context, i int) error {
		if i < len(inline.groups) {
			return f.inline(ctx, groups[i])
		}
		return f.mixed(ctx, groups[i])
	})
}

// gathering puts documents into groups of a request each.
type gathering struct {
	limit, size int64 // size is that of the last group
	groups      [][]want
}

func (g *gathering) add(w want, bytes int64) {
	if len(g.groups) == 0 || g.size+bytes > g.limit {
		g.groups, g.size = append(g.groups, nil), 0
	}
	last := len(g.groups) - 1
	g.groups[last], g.size = append(g.groups[last], w), g.size+bytes
}

// inlineable reports whether the document's attachments come out of the target
// as they are at the source when they travel inside it, and their size. What is stored
// gzipped does not: the server cannot tell what a client uploaded
// gzipped from what it compressed itself, and _bulk_docs would compress anew (DESIGN section 5).
func inlineable(attachments []rawdoc.Attachment) (bytes int64, ok bool) {
	ok = true
	for _, a := range attachments {
		bytes += a.StoredLength()
		ok = ok && (a.Encoding == "" || a.Encoding == "identity")
	}
	return bytes, ok && bytes <= inlineLimit
}
