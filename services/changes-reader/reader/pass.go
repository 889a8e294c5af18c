package reader

import (
	"context"
	"errors"
	"fmt"
	"io"

	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

// manyRows is the limit with which a pass asks for all rows. CouchDB's own default
// is about as much.
const manyRows = 1_000_000_000_000

// sink is where a pass's batches go, in order. It waits while too many are on
// their way.
type sink interface {
	publish(ctx context.Context, b *millracev1.ChangesBatch) error
	// opened is told that the source has answered, and follows what changes from here on.
	opened(ctx context.Context) error
}

// source is what of a couch.DB a pass uses.
type source interface {
	Changes(ctx context.Context, o couch.ChangesOptions) (*couch.Changes, error)
}

// pass reads a feed and cuts it into batches.
type pass struct {
	db      source
	feed    *millracev1.Feed
	batcher *batcher
	sink    sink
	// rest says when a live feed may be closed; nil for never.
	rest *rest
	read int // rows
}

// options are the parameters that both kinds of pass share.
func (p *pass) options() couch.ChangesOptions {
	o := couch.ChangesOptions{Since: p.batcher.known, Style: couch.Style(p.feed.Style)}
	if p.feed.FilterDocIds {
		o.DocIDs = append([]string{}, p.feed.DocIds...)
	}
	if len(p.feed.Selector) > 0 {
		o.Selector = p.feed.Selector
	}
	return o
}

// finite reads from the last known seq to the end of the database, and ends with
// the seq that the server names as the last, which in a filtered feed is past the
// rows that did not match.
//
// The server is asked for one seq a batch: computing them is half its work. A
// row i has one where limit - i is a multiple of the interval, so the limit is chosen
// such that batches end on one (DESIGN section 5).
func (p *pass) finite(ctx context.Context, mark bool) error {
	o := p.options()
	size := int(p.feed.BatchRows)
	if !p.feed.FilterDocIds {
		o.SeqInterval, o.Limit = size, manyRows/size*size-1
	}
	changes, err := p.db.Changes(ctx, o)
	if err != nil {
		return err
	}
	defer changes.Close() //nolint:errcheck // nothing is written
	for {
		row, err := changes.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			p.batcher.drop()
			return err
		}
		p.read++
		p.batcher.add(row)
		if len(p.batcher.rows) >= size {
			if err := p.send(ctx, false, -1); err != nil {
				return err
			}
		}
	}
	if last := changes.LastSeq(); !last.IsNull() {
		p.batcher.reached = last
	}
	if !mark && len(p.batcher.rows) == 0 && p.batcher.reached == p.batcher.known {
		return nil // nothing new: a live feed has nothing to say
	}
	return p.send(ctx, mark, max(0, changes.Pending()))
}

// live follows the database. A batch is as large as what has arrived: in a quiet
// feed every row is sent at once, in a busy one rows gather while others are
// published (DESIGN section 3). A quiet source says that it is there three times in
// the connection's timeout, as CouchDB's replicator asks for. The error is errQuiet when the
// feed was closed because nothing was in it for long.
func (p *pass) live(ctx context.Context) error {
	o := p.options()
	o.Feed = couch.FeedContinuous
	var changes *couch.Changes
	closed := false
	if p.rest != nil {
		o.OnHeartbeat = func() {
			if !closed && p.rest.due() {
				closed = true
				_ = changes.Close() // ends Next, once it has given what has arrived
			}
		}
	}
	changes, err := p.db.Changes(ctx, o)
	if err != nil {
		return err
	}
	defer changes.Close() //nolint:errcheck // nothing is written
	p.rest.opened()
	if err := p.sink.opened(ctx); err != nil {
		return err
	}
	for {
		row, err := changes.Next()
		if err == io.EOF { // the server ends the feed, regularly
			p.batcher.reached = changes.LastSeq()
			if p.batcher.reached.IsNull() || p.batcher.reached == p.batcher.known {
				p.batcher.drop()
				return nil
			}
			return p.send(ctx, false, -1)
		}
		if err != nil {
			p.batcher.drop()
			if closed {
				return errQuiet
			}
			return err
		}
		p.rest.stir()
		p.batcher.add(row)
		if len(p.batcher.rows) >= int(p.feed.BatchRows) || !changes.Ready() {
			if err := p.send(ctx, false, -1); err != nil {
				return err
			}
		}
	}
}

func (p *pass) send(ctx context.Context, end bool, pending int64) error {
	b, err := p.batcher.batch(end, pending)
	if err != nil {
		return fmt.Errorf("close batch: %w", err)
	}
	return p.sink.publish(ctx, b)
}

// isCut reports whether the feed broke after it had begun: reading goes on from
// the last known seq at once.
func isCut(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }
