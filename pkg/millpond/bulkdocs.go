package millpond

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/revtree"
)

// parser returns the reader of documents with the server's limits.
func (c *call) parser() parser {
	opts := &c.server.opts
	return parser{
		compressor: compressor{level: max(opts.CompressionLevel, 0)},
		maxBody:    opts.MaxDocumentSize, maxAttachment: opts.MaxAttachmentSize, maxID: opts.MaxDocumentIDLength,
	}
}

func (c *call) editor() editor {
	return editor{server: c.server, name: c.name, db: c.db, user: c.user, admin: c.dbAdmin}
}

// bulkDocs answers POST /db/_bulk_docs. All documents are read before the first
// is written, so what is wrong with one document's form refuses the request whole
// and writes nothing. A missing stub is found while writing: as in CouchDB that
// refusal is not atomic.
func (c *call) bulkDocs() error {
	body, err := c.jsonBody()
	if err != nil {
		return err
	}
	docs, newEdits, err := c.parseBulk(body)
	if err != nil {
		return err
	}
	rows := []byte{'['}
	for _, doc := range docs {
		rev, err := c.editor().write(c.r.Context(), doc, newEdits)
		refused := rowError(err)
		if err != nil && refused == nil {
			return err
		}
		if !newEdits && refused == nil {
			continue // only failures are listed
		}
		if len(rows) > 1 {
			rows = append(rows, ',')
		}
		rows = appendResult(rows, doc, newEdits, rev, refused)
	}
	return c.json(http.StatusCreated, append(rows, ']'))
}

// parseBulk reads the request: its documents and new_edits.
func (c *call) parseBulk(body []byte) (docs []*incoming, newEdits bool, err error) {
	var list, edits jsontext.Value
	err = eachMember(body, all, func(m member) error {
		switch m.name {
		case "docs":
			list = m.value
		case "new_edits":
			edits = m.value
		}
		return nil
	})
	switch {
	case err != nil:
		return nil, false, err
	case list == nil:
		return nil, false, badRequest("POST body must include `docs` parameter.")
	case list.Kind() != '[':
		return nil, false, badRequest("`docs` parameter must be an array.")
	case edits != nil && edits.Kind() != 't' && edits.Kind() != 'f':
		return nil, false, badRequest("`new_edits` parameter must be a boolean.")
	}
	newEdits = edits == nil || edits.Kind() == 't'
	p := c.parser()
	err = eachElement(list, func(v jsontext.Value) error {
		doc, err := p.doc(v)
		if err != nil {
			return err
		}
		if !newEdits && len(doc.path.IDs) == 0 {
			return errNeedsRev
		}
		if !doc.hasID {
			doc.id = c.server.uuids.next()
		}
		docs = append(docs, doc)
		return nil
	})
	return docs, newEdits, err
}

// appendResult appends one row of the answer.
func appendResult(dst []byte, doc *incoming, newEdits bool, rev revtree.Rev, refused *Error) []byte {
	if refused == nil {
		return appendAccepted(dst, doc.id, rev)
	}
	dst = append(dst, `{"id":`...)
	dst = appendString(dst, doc.id)
	dst = append(dst, ',')
	if !newEdits {
		dst = append(dst, `"rev":`...)
		dst = appendString(dst, rev.String())
		dst = append(dst, ',')
	}
	dst = refused.appendMembers(dst)
	return append(dst, '}')
}

// appendAccepted appends {"ok":true,"id":...,"rev":...}.
func appendAccepted(dst []byte, id string, rev revtree.Rev) []byte {
	dst = append(dst, `{"ok":true,"id":`...)
	dst = appendString(dst, id)
	dst = append(dst, `,"rev":`...)
	dst = appendString(dst, rev.String())
	return append(dst, '}')
}
