package reader

import (
	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

// batcher numbers the batches of one ownership of a feed.
type batcher struct {
	feed    string
	epoch   uint64
	roster  func() uint64
	ordinal uint64
	// known is the newest seq in the log: where reading goes on after a cut.
	known couch.Seq
	rows  []*millracev1.Row
	// reached is the seq of the last row in rows, null when it has none.
	reached couch.Seq
}

// add takes in a row.
func (b *batcher) add(r couch.Row) {
	b.rows = append(b.rows, &millracev1.Row{Id: r.ID, Revs: r.Revs, Deleted: r.Deleted})
	b.reached = r.Seq
}

// drop forgets rows that were not published; they are read again.
func (b *batcher) drop() { b.rows, b.reached = nil, couch.NullSeq() }

// batch closes the batch under construction. An empty one is of use when it
// moves the seq or ends the feed.
func (b *batcher) batch(end bool, pending int64) (*millracev1.ChangesBatch, error) {
	out := &millracev1.ChangesBatch{
		Feed: b.feed, Epoch: b.epoch, Ordinal: b.ordinal + 1, Roster: b.roster(),
		Rows: b.rows, End: end, Pending: pending,
	}
	if !b.reached.IsNull() {
		b.known = b.reached
		seq, err := b.reached.MarshalJSON()
		if err != nil {
			return nil, err
		}
		out.Seq = seq
	}
	known, err := b.known.MarshalJSON()
	if err != nil {
		return nil, err
	}
	out.KnownSeq = known
	b.ordinal++
	b.drop()
	return out, nil
}
