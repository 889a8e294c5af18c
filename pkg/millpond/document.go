package millpond

import (
	"mime"
	"net/http"
	"strings"

	"millrace/pkg/revtree"
)

// docID is the id in the path.
func (c *call) docID() string { return c.parts[1] }

// getDoc answers GET /db/doc in all its forms.
func (c *call) getDoc() error {
	r, err := c.renderer()
	if err != nil {
		return err
	}
	doc, err := c.db.Doc(c.r.Context(), c.docID())
	if err != nil {
		return err
	}
	if c.query.Has("open_revs") {
		return c.getOpenRevs(doc, r)
	}
	if strings.HasPrefix(c.docID(), "_") {
		if err := c.parser().checkID(c.docID()); err != nil {
			return errMissing
		}
	}
	node, winner, err := c.chooseRev(doc)
	if err != nil {
		return err
	}
	if !r.hasMeta() {
		c.w.Header().Set("ETag", quoteTag(node.Rev()))
	}
	if content, _ := node.Value(); r.attachments && len(content.Attachments) > 0 && c.accepts("multipart/related") {
		return c.sendRelated(doc, node, winner, r)
	}
	body, err := r.appendDoc(nil, doc, node, winner)
	if err != nil {
		return err
	}
	if !r.hasMeta() {
		if c.r.Header.Get("If-None-Match") == quoteTag(node.Rev()) {
			c.w.WriteHeader(http.StatusNotModified)
			return nil
		}
	}
	return c.json(http.StatusOK, body)
}

func quoteTag(rev revtree.Rev) string { return `"` + rev.String() + `"` }

// chooseRev finds the revision that rev= names, or the winner. As in CouchDB
// latest=true makes it the winner whatever was named.
func (c *call) chooseRev(doc *Doc) (node *Node, winner bool, err error) {
	if text := c.query.Get("rev"); text != "" {
		rev, err := revtree.Parse(text)
		if err != nil {
			return nil, false, errBadRev
		}
		if !c.flag("latest") {
			found := openRevs(doc, []revtree.Rev{rev}, false)
			if found[0].node == nil {
				return nil, false, errMissing
			}
			return found[0].node, false, nil
		}
	}
	if doc == nil {
		return nil, false, errMissing
	}
	node = doc.Tree.Winner()
	if node.Deleted() && !c.flag("deleted") {
		return nil, false, errDeleted
	}
	return node, true, nil
}

// getOpenRevs answers GET /db/doc?open_revs=: multipart/mixed unless the client
// takes only JSON.
func (c *call) getOpenRevs(doc *Doc, r renderer) error {
	var revs []revtree.Rev
	if text := c.query.Get("open_revs"); text != "all" {
		var err error
		if revs, err = parseQueryRevs(text); err != nil {
			return err
		}
	}
	found := openRevs(doc, revs, c.flag("latest"))
	if len(found) == 0 && revs == nil {
		return errMissing
	}
	if c.accepts("multipart/mixed") {
		return c.sendMixed(doc, found, r)
	}
	out := c.stream("application/json")
	out.buf = append(out.buf, '[')
	for i, o := range found {
		if i > 0 {
			out.buf = append(out.buf, ',')
		}
		if o.node == nil {
			out.buf = appendMissing(out.buf, o.rev)
			continue
		}
		out.buf = append(out.buf, `{"ok":`...)
		var err error
		if out.buf, err = r.appendDoc(out.buf, doc, o.node, false); err != nil {
			return out.abort(err)
		}
		out.buf = append(out.buf, '}')
		out.flushIfFull()
	}
	out.buf = append(out.buf, "]\n"...)
	out.flush()
	return nil
}

func appendMissing(dst []byte, rev revtree.Rev) []byte {
	dst = append(dst, `{"missing":`...)
	dst = appendString(dst, rev.String())
	return append(dst, '}')
}

// postDoc answers POST /db.
func (c *call) postDoc() error {
	body, err := c.jsonBody()
	if err != nil {
		return err
	}
	doc, err := c.parser().doc(body)
	if err != nil {
		return err
	}
	if !doc.hasID {
		doc.id, doc.path = c.server.uuids.next(), revtree.Path{}
	}
	rev, err := c.editor().write(c.r.Context(), doc, true)
	if err != nil {
		return err
	}
	c.setLocation(doc.id)
	return c.json(http.StatusCreated, appendAccepted(nil, doc.id, rev))
}

// putDoc answers PUT /db/doc, as JSON or as multipart/related.
func (c *call) putDoc() error {
	id := c.docID()
	if err := c.parser().checkID(id); err != nil {
		return err
	}
	doc, err := c.readDoc()
	if err != nil {
		return err
	}
	doc.id = id
	newEdits := c.query.Get("new_edits") != "false"
	if err := c.applyRev(doc); err != nil {
		return err
	}
	if !newEdits && len(doc.path.IDs) == 0 {
		return errNeedsRev
	}
	rev, err := c.editor().write(c.r.Context(), doc, newEdits)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if doc.deleted {
		status = http.StatusOK
	}
	c.w.Header().Set("ETag", quoteTag(rev))
	c.setLocation(id)
	return c.json(status, appendAccepted(nil, id, rev))
}

func (c *call) readDoc() (*incoming, error) {
	kind, params, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if kind == "multipart/related" {
		return c.readRelated(params["boundary"])
	}
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	return c.parser().doc(body)
}

// applyRev takes the revision to replace from the query or the If-Match header
// where the document does not have it.
func (c *call) applyRev(doc *incoming) error {
	explicit, err := c.explicitRev()
	if err != nil || explicit == nil {
		return err
	}
	if len(doc.path.IDs) > 0 && doc.path.Rev() != *explicit {
		return badRequest("Document rev from request body and query string have different values")
	}
	if len(doc.path.IDs) == 0 {
		doc.path = revtree.Path{Start: explicit.Pos, IDs: []string{explicit.Hash}}
	}
	return nil
}

// explicitRev is the revision named by rev= or If-Match; nil if by neither.
func (c *call) explicitRev() (*revtree.Rev, error) {
	var named []revtree.Rev
	for _, text := range []string{c.query.Get("rev"), strings.Trim(c.r.Header.Get("If-Match"), `"`)} {
		if text == "" {
			continue
		}
		rev, err := revtree.Parse(text)
		if err != nil {
			return nil, errBadRev
		}
		named = append(named, rev)
	}
	switch {
	case len(named) == 0:
		return nil, nil
	case len(named) == 2 && named[0] != named[1]:
		return nil, badRequest("Document rev and etag have different values")
	}
	return &named[0], nil
}

// deleteDoc answers DELETE /db/doc.
func (c *call) deleteDoc() error {
	stored, err := c.db.Doc(c.r.Context(), c.docID())
	switch {
	case err != nil:
		return err
	case stored == nil:
		return errMissing
	case stored.Tree.Winner().Deleted():
		return errDeleted
	}
	doc := &incoming{id: c.docID(), deleted: true}
	if err := c.applyRev(doc); err != nil {
		return err
	}
	rev, err := c.editor().write(c.r.Context(), doc, true)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", quoteTag(rev))
	return c.json(http.StatusOK, appendAccepted(nil, doc.id, rev))
}
