package millpond

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"millrace/pkg/revtree"
)

const localPrefix = "_local/"

// editor writes documents into one database.
type editor struct {
	server *Server
	name   string // of the database
	db     Database
	user   user
	admin  bool // of the database

	functions *functions // in use while a document is written
	secObj    []byte     // for them
}

// write stores one document as an interactive edit (newEdits) or as a
// replicated revision, and returns the revision that it has now. The id decides
// whether it is a _local document.
func (e editor) write(ctx context.Context, doc *incoming, newEdits bool) (revtree.Rev, error) {
	if strings.HasPrefix(doc.id, localPrefix) {
		return e.writeLocal(ctx, doc)
	}
	if !newEdits && len(doc.path.IDs) == 0 {
		return revtree.Rev{}, errNeedsRev
	}
	if strings.HasPrefix(doc.id, designPrefix) {
		if !e.admin {
			refused := e.user.notDatabaseAdmin()
			refused.row = true
			return doc.rev(), refused
		}
		if err := checkDesign(doc); err != nil {
			return doc.rev(), err
		}
		defer e.server.validators.forget(e.name)
	}
	done, err := e.useFunctions(ctx)
	if err != nil {
		return doc.rev(), err
	}
	defer done()
	if newEdits {
		return e.writeNew(ctx, doc)
	}
	return doc.rev(), e.writeReplicated(ctx, doc)
}

// rev is the revision that the document came with; none if it had none.
func (doc *incoming) rev() revtree.Rev {
	if len(doc.path.IDs) == 0 {
		return revtree.Rev{}
	}
	return doc.path.Rev()
}

// writeNew makes a new revision on top of the leaf that doc names.
func (e editor) writeNew(ctx context.Context, doc *incoming) (rev revtree.Rev, err error) {
	err = e.db.Update(ctx, doc.id, func(tree Tree) (Tree, error) {
		parent, err := parentOf(tree, doc)
		if err != nil {
			return Tree{}, err
		}
		path := revtree.Path{Start: 1, IDs: []string{""}}
		var base *Revision
		if parent != nil {
			old := parent.Rev()
			path = revtree.Path{Start: old.Pos + 1, IDs: []string{"", old.Hash}}
			if len(doc.path.IDs) > 0 { // stubs refer to the revision that was named
				base, _ = parent.Value()
			}
		}
		content, err := doc.content(base, path.Start)
		if err != nil {
			return Tree{}, err
		}
		old := parent
		if len(doc.path.IDs) == 0 { // CouchDB shows a tombstone only to whoever names it
			old = nil
		}
		if err := e.validate(doc, content, tree, old); err != nil {
			return Tree{}, err
		}
		path.IDs[0] = newHash(doc.deleted, path, content)
		rev = path.Rev()
		tree, _, _ = tree.Merge(path, doc.deleted, content)
		return tree, nil
	})
	return rev, err
}

// parentOf is the leaf that an interactive edit replaces: the one that it names,
// or, if it names none, the tombstone of a deleted document, or nil.
func parentOf(tree Tree, doc *incoming) (*Node, error) {
	named := len(doc.path.IDs) > 0
	if tree.Len() == 0 {
		if named {
			return nil, errConflict
		}
		return nil, nil
	}
	if named {
		leaf := tree.Find(doc.path.Rev())
		if leaf == nil || !leaf.Leaf() {
			return nil, errConflict
		}
		return leaf, nil
	}
	winner := tree.Winner()
	if !winner.Deleted() {
		return nil, errConflict
	}
	return winner, nil
}

// writeReplicated merges a revision with its history into the document's tree.
// One that is stored already changes nothing (invariant 2). An ancestor known by
// name only gets its content, and the document a new seq, as in CouchDB.
func (e editor) writeReplicated(ctx context.Context, doc *incoming) error {
	return e.db.Update(ctx, doc.id, func(tree Tree) (Tree, error) {
		if known := tree.Find(doc.path.Rev()); known != nil {
			if _, stored := known.Value(); stored {
				return Tree{}, ErrUnchanged
			}
		}
		old := storedAncestor(tree, doc.path)
		var base *Revision
		if old != nil {
			base, _ = old.Value()
		}
		content, err := doc.content(base, 0)
		if err != nil {
			return Tree{}, err
		}
		merged, _, _ := tree.Merge(doc.path, doc.deleted, content)
		if !e.functions.none() && !merged.Find(doc.path.Rev()).Leaf() {
			return Tree{}, ErrUnchanged // CouchDB validates and stores leaves only
		}
		return merged, e.validate(doc, content, tree, old)
	})
}

// storedAncestor is the nearest ancestor whose content is here; stubs refer to it.
func storedAncestor(tree Tree, path revtree.Path) *Node {
	if tree.Len() == 0 {
		return nil
	}
	for i, hash := range path.IDs[1:] {
		node := tree.Find(revtree.Rev{Pos: path.Start - 1 - i, Hash: hash})
		if node == nil {
			continue
		}
		if _, ok := node.Value(); ok {
			return node
		}
	}
	return nil
}

// content is what is to be stored of the document: stubs are replaced by the
// attachments of base. A pos other than 0 is the generation being made, which new
// attachments get as their revpos.
func (doc *incoming) content(base *Revision, pos int) (*Revision, error) {
	content := &Revision{Body: doc.body}
	for i := range doc.atts {
		att := &doc.atts[i]
		stored := att.stored
		switch {
		case stored != nil && pos != 0:
			renewed := *stored
			renewed.RevPos = pos
			stored = &renewed
		case stored == nil:
			stored = base.attachment(att)
		}
		if stored == nil {
			return nil, missingStub(doc.id, att.Name)
		}
		content.Attachments = append(content.Attachments, stored)
	}
	return content, nil
}

// attachment finds what a stub refers to. A revpos given must be the stored one.
func (r *Revision) attachment(stub *incomingAtt) *Attachment {
	if r == nil || !stub.Stub {
		return nil
	}
	for _, att := range r.Attachments {
		if att.Name == stub.Name && (stub.RevPos == nil || *stub.RevPos == att.RevPos) {
			return att
		}
	}
	return nil
}

// newHash is the hash of a new revision. Like CouchDB's it is an MD5 of the
// content and the parent, so that the same edit makes the same revision
// everywhere; the bytes hashed are not CouchDB's.
func newHash(deleted bool, path revtree.Path, content *Revision) string {
	parent := ""
	if len(path.IDs) > 1 {
		parent = path.IDs[1]
	}
	h := md5.New()
	fmt.Fprintf(h, "%t %d-%s\n", deleted, path.Start-1, parent)
	_, _ = h.Write(content.Body)
	for _, att := range content.Attachments {
		fmt.Fprintf(h, "\n%q %q %s", att.Name, att.ContentType, att.Digest)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// writeLocal stores or removes a _local document. Like CouchDB it takes any
// revision: _local documents fence nothing.
func (e editor) writeLocal(ctx context.Context, doc *incoming) (revtree.Rev, error) {
	id := strings.TrimPrefix(doc.id, localPrefix)
	if doc.deleted {
		return revtree.Rev{Hash: "0"}, e.db.PutLocal(ctx, id, nil)
	}
	var next int64 = 1
	if len(doc.path.IDs) > 0 {
		var n int64
		if _, err := fmt.Sscan(doc.path.IDs[0], &n); err != nil {
			return revtree.Rev{}, errBadRev
		}
		next = n + 1
	}
	rev := revtree.Rev{Hash: fmt.Sprint(next)}
	return rev, e.db.PutLocal(ctx, id, &Local{Rev: next, Body: doc.body})
}

// rowError tells errors that refuse one document of many from those that refuse
// the request.
func rowError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		return nil
	}
	if e.Status == http.StatusConflict || e.row {
		return e
	}
	return nil
}
