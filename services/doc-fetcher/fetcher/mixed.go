package fetcher

import (
	"context"
	"errors"
	"io"
	"strings"
	"unicode"

	"millrace/pkg/couch"
	millracev1 "millrace/proto/millrace/v1"
)

// mixed asks for documents whose attachments keep their stored encoding, all in one request.
// What does not come is asked for singly.
func (f *fetch) mixed(ctx context.Context, wants []want) error {
	asked, single := mixable(wants)
	if len(asked) == 0 || f.unmixed {
		return f.each(ctx, wants)
	}
	revs, err := f.db.BulkGetMixed(ctx, requests(asked, !f.full))
	switch {
	case errors.Is(err, couch.ErrNoMultipart):
		f.lacksMixed()
		return f.each(ctx, wants)
	case refused(err):
		return f.each(ctx, wants)
	case err != nil:
		return err
	}
	rest, err := f.takeAll(ctx, revs, asked)
	if err := errors.Join(err, revs.Close()); err != nil {
		return err
	}
	return f.each(ctx, append(single, rest...))
}

// takeAll packs what comes, and returns what was asked for and does not come as itself:
// what has vanished since it was looked at, or has a newer leaf.
func (f *fetch) takeAll(ctx context.Context, revs *couch.OpenRevs, asked []want) (rest []want, err error) {
	left := make(map[revision]bool, len(asked))
	for _, w := range asked {
		left[revision{w.id, w.rev}] = true
	}
	for {
		rev, err := revs.Next()
		if err == io.EOF {
			break
		}
		if doubtful(err) {
			break // the rest is asked for one by one
		}
		if err != nil {
			return nil, err
		}
		if rev.Doc == nil {
			continue
		}
		r := revision{rev.Meta.ID, rev.Meta.Rev}
		if !left[r] && !f.packer.fresh(r.id, r.rev) {
			continue
		}
		if chosen, err := f.choice.wants(rev.Meta, rev.Doc); err != nil {
			return nil, err
		} else if !chosen {
			delete(left, r)
			continue
		}
		if tooLarge(rev.Meta) {
			// A newer leaf since it was looked at. The rest of the answer is asked for otherwise.
			f.setAside(want{id: r.id, rev: r.rev, ancestors: ancestorsOf(asked, r.id)})
			delete(left, r)
			break
		}
		if err := f.take(ctx, rev); doubtful(err) {
			if !left[r] { // it comes again with what it descends from
				f.packer.forget(r.id, r.rev)
			}
			break
		} else if err != nil {
			return nil, err
		}
		delete(left, r)
		f.packer.count(func(c *millracev1.Counters) { c.BulkGetDocs++ })
	}
	for _, w := range asked {
		if left[revision{w.id, w.rev}] {
			rest = append(rest, w)
		}
	}
	return rest, nil
}

// ancestorsOf are those that the target may have of a document that was asked for.
func ancestorsOf(asked []want, id string) []string {
	for _, w := range asked {
		if w.id == id {
			return w.ancestors
		}
	}
	return nil
}

// mixable separates the documents whose ids CouchDB cannot write into the head of a part: it
// writes them there as they are.
func mixable(wants []want) (fit, unfit []want) {
	for _, w := range wants {
		if strings.ContainsFunc(w.id, unicode.IsControl) {
			unfit = append(unfit, w)
		} else {
			fit = append(fit, w)
		}
	}
	return fit, unfit
}
