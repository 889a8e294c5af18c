package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

	"millrace/pkg/couch"
	"millrace/pkg/pause"
	"millrace/pkg/rawdoc"
)

// Side is one of the two databases.
type Side string

// The sides.
const (
	A Side = "A"
	B Side = "B"
)

// ReadError says that a database could not be read.
type ReadError struct {
	Side Side
	// Database is its URL without secrets.
	Database string
	Err      error
}

func (e *ReadError) Error() string {
	return fmt.Sprintf("read database %s (%s): %v", e.Side, e.Database, e.Err)
}

// Unwrap returns the cause.
func (e *ReadError) Unwrap() error { return e.Err }

// side reads one of the databases.
type side struct {
	name     Side
	db       *couch.DB
	progress *Progress
	winners  bool      // only the winning revision of each document counts
	began    couch.Seq // before anything was read
	seq      couch.Seq // before the last reading began
}

func (s *side) failed(err error) error {
	return &ReadError{Side: s.name, Database: s.db.String(), Err: err}
}

// begin notes where the database stands.
func (s *side) begin(ctx context.Context) error {
	info, err := s.db.Info(ctx)
	if err != nil {
		return s.failed(err)
	}
	s.began, s.seq = info.UpdateSeq, info.UpdateSeq
	s.progress.Expected.Add(info.DocCount + info.DocDelCount)
	return nil
}

// moved reports whether the database may have changed since it was last asked, or
// since begin. On a cluster, update seqs may be told apart that mean the same.
func (s *side) moved(ctx context.Context) (bool, error) {
	info, err := s.db.Info(ctx)
	if err != nil {
		return false, s.failed(err)
	}
	moved := info.UpdateSeq != s.seq
	s.seq = info.UpdateSeq
	return moved, nil
}

// seqInterval spares the server most of the seqs. They are for going on after a cut.
const seqInterval = 500

// feed hands every row to add, some more than once after a cut.
func (s *side) feed(ctx context.Context, docIDs []string, add func(couch.Row) error) error {
	var since couch.Seq
	return persist(ctx, func() (further bool, err error) {
		o := couch.ChangesOptions{Since: since, SeqInterval: seqInterval, DocIDs: docIDs}
		if s.winners {
			o.Style = couch.StyleMainOnly
		}
		rows, err := s.db.Changes(ctx, o)
		if err != nil {
			return false, s.failed(err)
		}
		defer func() { _ = rows.Close() }() // the rows are what matters
		for {
			row, err := rows.Next()
			if err == io.EOF {
				return true, nil
			}
			if err != nil {
				return further, s.failed(err)
			}
			if !row.Seq.IsNull() && row.Seq != since {
				since, further = row.Seq, true
			}
			s.progress.Read.Add(1)
			if err := add(row); err != nil {
				return further, err
			}
		}
	})
}

// current is a document as it is now, nil if there is none. The winner is deleted
// if all leaves are.
func (s *side) current(ctx context.Context, id string) (found *row, err error) {
	err = persist(ctx, func() (bool, error) {
		found, err = s.open(ctx, id)
		if couch.IsNotFound(err) {
			return true, nil
		}
		if err != nil {
			return false, s.failed(err)
		}
		return true, nil
	})
	return found, err
}

func (s *side) open(ctx context.Context, id string) (*row, error) {
	revs, err := s.db.OpenRevs(ctx, id, nil, couch.OpenRevsOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = revs.Close() }() // the revisions are what matters
	found, winner := couch.Row{ID: id, Deleted: true}, rawdoc.Meta{}
	for {
		rev, err := revs.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if rev.Doc == nil {
			continue // it vanished meanwhile
		}
		found.Revs = append(found.Revs, rev.Meta.Rev)
		found.Deleted = found.Deleted && rev.Meta.Deleted
		if winner.Rev == "" || wins(rev.Meta, winner) {
			winner = rawdoc.Meta{Rev: rev.Meta.Rev, Deleted: rev.Meta.Deleted}
		}
	}
	if len(found.Revs) == 0 {
		return nil, nil
	}
	if s.winners {
		found.Revs = []string{winner.Rev}
	}
	r := rowOf(found)
	return &r, nil
}

// wins says which of two leaves is the winner: of those that are not deleted the longest, and of
// these the one with the highest hash.
func wins(a, b rawdoc.Meta) bool {
	if a.Deleted != b.Deleted {
		return b.Deleted
	}
	posA, hashA, _ := strings.Cut(a.Rev, "-")
	posB, hashB, _ := strings.Cut(b.Rev, "-")
	// Without leading zeros, the longer number is the higher one.
	return cmp.Or(cmp.Compare(len(posA), len(posB)), strings.Compare(posA, posB), strings.Compare(hashA, hashB)) > 0
}

// maxCuts is how often in a row a stream may break without having got any further.
const maxCuts = 5

// isBroken tells the errors in an answer's middle, which package couch leaves to its
// caller: a cut, or a server in trouble with one document.
func isBroken(err error) bool {
	var cut *couch.CutError
	var doc *couch.DocError
	return errors.As(err, &cut) || errors.As(err, &doc) && couch.Classify(err) == couch.Transient
}

// persist calls try again while an answer breaks.
// further says that the next try will not start where this one did.
func persist(ctx context.Context, try func() (further bool, err error)) error {
	waits := backoff.NewExponentialBackOff()
	waits.InitialInterval = 100 * time.Millisecond
	for cuts := 1; ; cuts++ {
		further, err := try()
		if !isBroken(err) || ctx.Err() != nil || cuts > maxCuts {
			return err
		}
		if further {
			cuts = 0
			waits.Reset()
		}
		if err := pause.For(ctx, waits.NextBackOff()); err != nil {
			return err
		}
	}
}
