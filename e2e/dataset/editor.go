package dataset

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
)

// Edits counts what an Editor has done.
type Edits struct {
	Created, Updated, Deleted, Conflicts, Attached int
	// Overtaken is how many edits were refused because another writer (another
	// Editor, a replication) had changed the document.
	Overtaken int
}

// Total is the number of edits that were stored.
func (e Edits) Total() int { return e.Created + e.Updated + e.Deleted + e.Conflicts + e.Attached }

// Editor makes random edits in one database, as users of an application do, for
// tests of replications that run meanwhile. The seed decides the edits; where
// others write to the same documents, they have their part in it. It is for one
// goroutine; several Editors may write to one database or to several.
type Editor struct {
	writer *writer
	gen    generator
	prefix string
	ids    []string
	leaves map[string][]string // leaves that are not deleted, as far as known
	done   Edits
}

// NewEditor prepares to edit documents whose ids begin with prefix. Editors with
// the same prefix on two databases that are replicated make conflicts with each
// other. Nothing is sent.
func NewEditor(db, prefix string, seed uint64) (*Editor, error) {
	w, err := newWriter(db)
	if err != nil {
		return nil, err
	}
	return &Editor{writer: w, gen: newGenerator(seed), prefix: prefix, leaves: make(map[string][]string)}, nil
}

// Close lets the connections go.
func (e *Editor) Close() { e.writer.close() }

// Done is what has been done so far.
func (e *Editor) Done() Edits { return e.done }

// Edit makes n edits: of ten about two are new documents, four updates, one a
// deletion, one a conflict and two attachments. It stops at the first error that
// is not another writer's edit of the same document.
func (e *Editor) Edit(ctx context.Context, n int) error {
	for range n {
		if err := e.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// step makes one edit.
func (e *Editor) step(ctx context.Context) error {
	kind := e.gen.IntN(10)
	if len(e.ids) == 0 || kind < 2 {
		return e.create(ctx)
	}
	id := e.ids[e.gen.IntN(len(e.ids))]
	if len(e.leaves[id]) == 0 {
		return e.write(ctx, id, "", &e.done.Created) // it was deleted: back again
	}
	rev := e.leaves[id][e.gen.IntN(len(e.leaves[id]))]
	switch kind {
	case 2, 3, 4, 5:
		return e.write(ctx, id, rev, &e.done.Updated)
	case 6:
		next, err := e.writer.remove(ctx, id, rev)
		return e.settle(ctx, id, rev, next, err, &e.done.Deleted)
	case 7:
		return e.conflict(ctx, id, rev)
	default:
		return e.attach(ctx, id, rev)
	}
}

// create makes the next document of the prefix. Another Editor with the same
// prefix may have been there before.
func (e *Editor) create(ctx context.Context) error {
	id := fmt.Sprintf("%s%06d", e.prefix, len(e.ids))
	e.ids = append(e.ids, id)
	return e.write(ctx, id, "", &e.done.Created)
}

// write stores a body on top of rev, or as a new document.
func (e *Editor) write(ctx context.Context, id, rev string, count *int) error {
	doc := fmt.Sprintf(`"value":%d,"text":"%s"}`, e.gen.Uint32(), e.gen.text(200))
	if rev == "" {
		doc = "{" + doc
	} else {
		doc = fmt.Sprintf(`{"_rev":%q,`, rev) + doc
	}
	next, err := e.writer.put(ctx, id, doc)
	return e.settle(ctx, id, rev, next, err, count)
}

// attach adds or replaces one of three attachments, every other one of them text.
func (e *Editor) attach(ctx context.Context, id, rev string) error {
	f := file{name: fmt.Sprintf("file/%d", e.gen.IntN(3)), contentType: "text/plain", content: e.gen.text(2000)}
	if e.gen.IntN(2) == 0 {
		f.contentType, f.content = "image/png", e.gen.bytes(500)
	}
	next, err := e.writer.attach(ctx, id, rev, f, "")
	return e.settle(ctx, id, rev, next, err, &e.done.Attached)
}

// conflict adds a leaf beside those that are there, without an ancestor in common.
func (e *Editor) conflict(ctx context.Context, id, rev string) error {
	var generation int
	if _, err := fmt.Sscanf(rev, "%d-", &generation); err != nil {
		return fmt.Errorf("revision %q of %q: %w", rev, id, err)
	}
	leaf := document{id: id, start: generation, history: e.gen.hashes(1), fields: fmt.Sprintf(`"conflict":%d`, e.gen.Uint32())}
	if err := e.writer.replicate(ctx, []document{leaf}); err != nil {
		return err
	}
	e.done.Conflicts++
	e.leaves[id] = append(e.leaves[id], leaf.rev())
	return nil
}

// settle takes note of an edit that replaced rev by next, or of why it did not.
func (e *Editor) settle(ctx context.Context, id, rev, next string, err error, count *int) error {
	var refused *RefusedError
	if errors.As(err, &refused) && (refused.Status == http.StatusConflict || refused.Status == http.StatusNotFound) {
		e.done.Overtaken++
		e.leaves[id], err = e.writer.leaves(ctx, id)
		return err
	}
	if err != nil {
		return err
	}
	*count++
	known := slices.DeleteFunc(e.leaves[id], func(leaf string) bool { return leaf == rev })
	if count != &e.done.Deleted {
		known = append(known, next)
	}
	e.leaves[id] = known
	return nil
}
