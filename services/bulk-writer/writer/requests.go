package writer

import (
	"context"

	millracev1 "millrace/proto/millrace/v1"
)

// requestBytes is how large a _bulk_docs request gets: CouchDB is cheapest per document
// between 0.5 and 2 MB (DESIGN section 3).
const requestBytes = 1 << 20

// requests gathers documents into requests of a good size, whatever messages they came in,
// and has them applied. The messages of a batch are seldom of the same size, and many small
// requests cost a target more than few.
type requests struct {
	apply *apply
	// enough is the size from which a request is not added to.
	enough int
	docs   []document
	size   int // bytes of docs
}

// share is the size of requests that are as few as possible and about equal.
func share(total int) int {
	n := (total + requestBytes - 1) / requestBytes
	if n == 0 {
		return requestBytes
	}
	return (total + n - 1) / n
}

func bodyBytes(bodies []*millracev1.BodyRef) (total int) {
	for _, b := range bodies {
		for _, d := range b.Docs {
			total += int(d.Length)
		}
	}
	return total
}

// add takes documents on, and sends the requests that are full.
func (r *requests) add(ctx context.Context, docs []document) error {
	for _, d := range docs {
		if r.size+len(d.bytes) > requestBytes {
			if err := r.send(ctx); err != nil {
				return err
			}
		}
		r.docs, r.size = append(r.docs, d), r.size+len(d.bytes)
		if r.size >= r.enough {
			if err := r.send(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// send sends what was gathered.
func (r *requests) send(ctx context.Context) error {
	if len(r.docs) == 0 {
		return nil
	}
	docs := r.docs
	r.docs, r.size = nil, 0
	return r.apply.write(ctx, docs)
}
