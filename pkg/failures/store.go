package failures

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/rawdoc"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

const (
	// DocumentLimit is how large a document may be to be kept beside its record, in bytes.
	DocumentLimit = 64 << 10
	// reasonLimit is how much of a reason is kept, in bytes: a validation function may say
	// anything.
	reasonLimit = 2 << 10
	// Filtered is the error word of a revision in the place of which the source has another one, which
	// the job's filter does not want. It is ours: CouchDB's replicator has no records.
	Filtered = "filtered"
)

var (
	// ErrUnknown says that there is no such record.
	ErrUnknown = errors.New("no such rejected document")
	// ErrNotKept says that the document of a record is not beside it, or not any more.
	ErrNotKept = errors.New("the document is not kept")
)

// Record is what is known of one rejected revision.
type Record struct {
	*millracev1.Rejection
	// Job is the id of the job that it belongs to.
	Job string
	// sequence is its place in the stream: another one of the same revision has another.
	sequence uint64
}

// Store is the records of all jobs. It is safe for concurrent use.
type Store struct {
	broker    *broker.Broker
	publisher *broker.Publisher
}

// NewStore returns the store. The publisher is needed by [Store.Put] alone.
func NewStore(b *broker.Broker, p *broker.Publisher) *Store { return &Store{b, p} }

func (s *Store) subject(job, id, rev string) string {
	return s.broker.Subjects().Failures(job, token(id, rev))
}

func (s *Store) documentSubject(job, id, rev string) string {
	return s.broker.Subjects().Refused(job, token(id, rev))
}

// token names a revision in a subject. No revision has a zero byte.
func token(id, rev string) string { return broker.Token(rev + "\x00" + id) }

// Put records that a revision was rejected, in place of what was recorded of it before,
// whose attempts it adds to; repeated for the same batch it is the same as once. The document, nil
// where the source did not give it, is kept if it is small and complete. What
// is recorded is returned.
//
// Of two that put the same revision at once the last counts.
func (s *Store) Put(ctx context.Context, job string, r *millracev1.Rejection, doc []byte) (*Record, error) {
	next := proto.CloneOf(r)
	next.Reason = clip(telemetry.Redact(r.Reason))
	next.Kept = 0
	if next.Size == 0 {
		next.Size = uint64(len(doc))
	}
	next.Attempts = max(1, r.Attempts)
	if next.Time == 0 {
		next.Time = time.Now().UnixNano()
	}
	next.FirstTime = next.Time
	before, err := s.Get(ctx, job, r.Id, r.Rev)
	switch {
	case errors.Is(err, ErrUnknown):
	case err != nil:
		return nil, err
	default:
		next.FirstTime = before.FirstTime
		if next.Attempts += before.Attempts; proto.Equal(before.Position, next.Position) {
			next.Attempts = before.Attempts
		}
		if next.Size == 0 { // the source did not give it this time
			next.Kept, next.Size = before.Kept, before.Size
		}
	}
	if keepable(doc) {
		if next.Kept, err = s.publisher.PublishSeq(ctx, s.documentSubject(job, r.Id, r.Rev), doc); err != nil {
			return nil, fmt.Errorf("keep a rejected document: %w", err)
		}
	}
	payload, err := proto.Marshal(next)
	if err != nil {
		return nil, fmt.Errorf("encode the record of a rejected document: %w", err)
	}
	sequence, err := s.publisher.PublishSeq(ctx, s.subject(job, r.Id, r.Rev), payload)
	if err != nil {
		return nil, fmt.Errorf("record a rejected document: %w", err)
	}
	return &Record{next, job, sequence}, nil
}

// keepable reports whether the document can be written from these bytes alone.
func keepable(doc []byte) bool {
	if len(doc) == 0 || len(doc) > DocumentLimit {
		return false
	}
	meta, err := rawdoc.Scan(doc)
	if err != nil {
		return false
	}
	for _, a := range meta.Attachments {
		if a.Data == nil {
			return false
		}
	}
	return true
}

func clip(reason string) string {
	if len(reason) <= reasonLimit {
		return reason
	}
	end := reasonLimit
	for end > 0 && !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end] + "…"
}

// Get returns the record of a revision. The error wraps [ErrUnknown] if there is none.
func (s *Store) Get(ctx context.Context, job, id, rev string) (*Record, error) {
	e, err := s.broker.Last(ctx, s.broker.Streams().Failures, s.subject(job, id, rev))
	if errors.Is(err, broker.ErrGone) || errors.Is(err, broker.ErrClaimLost) {
		return nil, fmt.Errorf("%s at %s: %w", id, rev, ErrUnknown)
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of a rejected document: %w", err)
	}
	return decode(job, e)
}

func decode(job string, e broker.Entry) (*Record, error) {
	r := &Record{Rejection: &millracev1.Rejection{}, Job: job, sequence: e.Sequence}
	if err := proto.Unmarshal(e.Data, r.Rejection); err != nil {
		return nil, fmt.Errorf("decode the record of a rejected document: %w", err)
	}
	return r, nil
}

// Document returns the document of a record. The error wraps [ErrNotKept] if it has to be had from
// the source.
func (s *Store) Document(ctx context.Context, r *Record) ([]byte, error) {
	if r.Kept == 0 {
		return nil, ErrNotKept
	}
	e, err := s.broker.GetEntry(ctx, s.broker.Streams().Refused, r.Kept)
	switch {
	case errors.Is(err, broker.ErrGone) || errors.Is(err, broker.ErrClaimLost):
		return nil, fmt.Errorf("the limit of what is kept is reached: %w", ErrNotKept)
	case err != nil:
		return nil, fmt.Errorf("read a rejected document: %w", err)
	case e.Subject != s.documentSubject(r.Job, r.Id, r.Rev): // of another life of the broker's disk
		return nil, ErrNotKept
	}
	return e.Data, nil
}

// Remove removes this record and its document, but not a newer one of the same revision.
// It is no error if it is gone already.
func (s *Store) Remove(ctx context.Context, r *Record) error {
	// The document first: without its record nobody would ever find it.
	if r.Kept != 0 {
		if err := s.broker.Remove(ctx, s.broker.Streams().Refused, r.Kept); err != nil {
			return err
		}
	}
	return s.broker.Remove(ctx, s.broker.Streams().Failures, r.sequence)
}

// RemoveAll removes all that is recorded of a job.
func (s *Store) RemoveAll(ctx context.Context, job string) error {
	streams, subjects := s.broker.Streams(), s.broker.Subjects()
	return errors.Join(
		s.broker.PurgeAll(ctx, streams.Refused, subjects.Refused(job, broker.Any)),
		s.broker.PurgeAll(ctx, streams.Failures, subjects.Failures(job, broker.Any)))
}
