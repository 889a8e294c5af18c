package millpond

import (
	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/revtree"
)

// wanted is one element of a _bulk_get request.
type wanted struct {
	id        string
	rev       *revtree.Rev // nil: all leaves
	attsSince []revtree.Rev
	refused   []byte // the error object to answer with, if the element is wrong
}

// bulkGet answers POST /db/_bulk_get, with JSON or, if the client takes no JSON,
// with multipart/mixed.
func (c *call) bulkGet() error {
	for _, name := range []string{"open_revs", "new_edits", "w", "rev", "atts_since"} {
		if c.query.Has(name) {
			return badRequest(`"` + name + `" query parameter is not acceptable`)
		}
	}
	body, err := c.jsonBody()
	if err != nil {
		return err
	}
	r, err := c.renderer()
	if err != nil {
		return err
	}
	asked, err := c.parseBulkGet(body)
	if err != nil {
		return err
	}
	if !c.accepts("application/json") && (c.accepts("multipart/mixed") || c.accepts("multipart/related")) {
		return c.sendBulkMultipart(asked, r)
	}
	return c.sendBulkJSON(asked, r)
}

func (c *call) parseBulkGet(body []byte) ([]wanted, error) {
	var list jsontext.Value
	err := eachMember(body, all, func(m member) error {
		if m.name == "docs" {
			list = m.value
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if list == nil {
		return nil, badRequest("Missing JSON list of 'docs'.")
	}
	var asked []wanted
	p := c.parser()
	err = eachElement(list, func(v jsontext.Value) error {
		asked = append(asked, p.wanted(v))
		return nil
	})
	return asked, err
}

// null stands where CouchDB has nothing to say.
var null = jsontext.Value("null")

// wanted reads one element. What is wrong with it is answered in its place.
func (p parser) wanted(v jsontext.Value) wanted {
	var id, rev, since jsontext.Value
	if v.Kind() != '{' {
		return refusedElement(null, null, badRequest("document must be a JSON object"))
	}
	_ = eachMember(v, all, func(m member) error { // well-formed: the request was read
		switch m.name {
		case "id":
			id = m.value
		case "rev":
			rev = m.value
		case "atts_since":
			since = m.value
		}
		return nil
	})
	if id == nil {
		return refusedElement(null, null, badRequest("document id missed"))
	}
	name, ok := stringValue(id)
	if !ok {
		return refusedElement(id, null, illegalID("Document id must be a string"))
	}
	if err := p.checkID(name); err != nil {
		return refusedElement(id, null, asError(err))
	}
	w := wanted{id: name}
	if rev != nil {
		text, ok := stringValue(rev)
		parsed, err := revtree.Parse(text)
		if !ok || err != nil {
			return refusedElement(id, rev, errBadRev)
		}
		w.rev = &parsed
	}
	if since != nil {
		if since.Kind() != '[' {
			return refusedElement(id, since, badRequest("att_since value must be array of revs."))
		}
		revs, err := parseRevs(since, nil)
		if err != nil {
			return refusedElement(id, since, asError(err))
		}
		w.attsSince = revs
	}
	return w
}

// refusedElement keeps CouchDB's error object for an element.
func refusedElement(id, rev jsontext.Value, e *Error) wanted {
	name, _ := stringValue(id)
	return wanted{id: name, refused: errorObject(id, rev, e)}
}

func errorObject(id, rev jsontext.Value, e *Error) []byte {
	dst := append([]byte(`{"id":`), id...)
	dst = append(dst, `,"rev":`...)
	dst = append(dst, rev...)
	dst = append(dst, ',')
	dst = e.appendMembers(dst)
	return append(dst, '}')
}

// missingObject is the error object for a revision that is not there. CouchDB
// writes "undefined" where none was named.
func (w *wanted) missingObject() []byte {
	rev := "undefined"
	if w.rev != nil {
		rev = w.rev.String()
	}
	return errorObject(appendString(nil, w.id), appendString(nil, rev), errMissing)
}

// open finds the revisions that an element asks for.
func (c *call) open(w *wanted) (*Doc, []opened, error) {
	doc, err := c.db.Doc(c.r.Context(), w.id)
	if err != nil {
		return nil, nil, err
	}
	var revs []revtree.Rev
	if w.rev != nil {
		revs = []revtree.Rev{*w.rev}
	}
	return doc, openRevs(doc, revs, c.flag("latest")), nil
}

// rendererFor is the request's renderer with an element's atts_since.
func (w *wanted) rendererFor(r renderer) renderer {
	if len(w.attsSince) > 0 {
		r.attsSince, r.attachments = w.attsSince, true
	}
	return r
}

// flushAt is how much of a streamed answer is gathered before it is written.
const flushAt = 64 << 10

// sendBulkJSON streams the answer: it is never in memory as a whole.
func (c *call) sendBulkJSON(asked []wanted, r renderer) error {
	out := c.stream("application/json")
	out.buf = append(out.buf, `{"results":[`...)
	for i := range asked {
		if i > 0 {
			out.buf = append(out.buf, ',')
		}
		if err := c.appendElement(out, &asked[i], r); err != nil {
			return out.abort(err)
		}
		out.flushIfFull()
	}
	out.buf = append(out.buf, "]}\n"...)
	out.flush()
	return nil
}

func (c *call) appendElement(out *stream, w *wanted, r renderer) error {
	out.buf = append(out.buf, `{"id":`...)
	if w.id == "" {
		out.buf = append(out.buf, "null"...)
	} else {
		out.buf = appendString(out.buf, w.id)
	}
	out.buf = append(out.buf, `,"docs":[`...)
	if err := c.appendOpened(out, w, w.rendererFor(r)); err != nil {
		return err
	}
	out.buf = append(out.buf, "]}"...)
	return nil
}

func (c *call) appendOpened(out *stream, w *wanted, r renderer) error {
	if w.refused != nil {
		out.buf = append(out.buf, `{"error":`...)
		out.buf = append(append(out.buf, w.refused...), '}')
		return nil
	}
	doc, found, err := c.open(w)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		found = []opened{{}}
	}
	for i, o := range found {
		if i > 0 {
			out.buf = append(out.buf, ',')
		}
		if o.node == nil {
			out.buf = append(out.buf, `{"error":`...)
			out.buf = append(append(out.buf, w.missingObject()...), '}')
			continue
		}
		out.buf = append(out.buf, `{"ok":`...)
		if out.buf, err = r.appendDoc(out.buf, doc, o.node, false); err != nil {
			return err
		}
		out.buf = append(out.buf, '}')
	}
	return nil
}
