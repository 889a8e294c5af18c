package failures

import (
	"context"
	"hash/maphash"
	"strings"

	"millrace/pkg/broker"
)

// Each calls do for each record of a job, oldest first, until do returns an error. Records that
// come or go meanwhile may or may not be among them.
func (s *Store) Each(ctx context.Context, job string, do func(*Record) error) error {
	return s.broker.Each(ctx, s.broker.Streams().Failures, s.broker.Subjects().Failures(job, broker.Any), func(e broker.Entry) error {
		r, err := decode(job, e)
		if err != nil {
			return err
		}
		return do(r)
	})
}

// Count is how many records a job has.
func (s *Store) Count(ctx context.Context, job string) (uint64, error) {
	return s.broker.Count(ctx, s.broker.Streams().Failures, s.broker.Subjects().Failures(job, broker.Any))
}

// Jobs counts the records of each job that has some. known are the ids of jobs that are looked at
// first: only where there are records of others, too, all are gone through.
func (s *Store) Jobs(ctx context.Context, known []string) (map[string]uint64, error) {
	all, err := s.Count(ctx, broker.Any)
	if err != nil {
		return nil, err
	}
	counts := map[string]uint64{}
	for _, job := range known {
		n, err := s.Count(ctx, job)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			counts[job], all = n, all-min(n, all)
		}
	}
	if all == 0 {
		return counts, nil
	}
	clear(counts)
	return counts, s.subjects(ctx, broker.Any, func(job, _ string) { counts[job]++ })
}

// subjects calls do with the tokens of each record's subject.
func (s *Store) subjects(ctx context.Context, job string, do func(job, revision string)) error {
	return s.broker.EachSubject(ctx, s.broker.Streams().Failures, s.broker.Subjects().Failures(job, broker.Any), func(subject string) error {
		tokens := strings.Split(subject, ".")
		if n := len(tokens); n >= 2 {
			do(tokens[n-2], tokens[n-1])
		}
		return nil
	})
}

// Full reports whether the limits are reached, so that older records have gone or are about to.
func (s *Store) Full(ctx context.Context) (bool, error) {
	const nearly = 0.99
	full, err := s.broker.Fullness(ctx, s.broker.Streams().Failures)
	return full >= nearly, err
}

// Index says which revisions of a job have a record. It takes 20 to 40 bytes for each.
type Index struct {
	seed   maphash.Seed
	hashes map[uint64]struct{}
}

// Index returns an index of the job's records as they are now.
func (s *Store) Index(ctx context.Context, job string) (*Index, error) {
	i := &Index{seed: maphash.MakeSeed(), hashes: map[uint64]struct{}{}}
	n, err := s.Count(ctx, job)
	if err != nil || n == 0 {
		return i, err
	}
	return i, s.subjects(ctx, job, func(_, revision string) { i.hashes[maphash.String(i.seed, revision)] = struct{}{} })
}

// Has reports whether the revision had a record when the index was made. It may say so of one
// that had none, once in billions.
func (i *Index) Has(id, rev string) bool {
	if len(i.hashes) == 0 {
		return false
	}
	_, has := i.hashes[maphash.String(i.seed, token(id, rev))]
	return has
}
