package millpond

import (
	"fmt"
	"net/http"
	"strings"

	"millrace/pkg/revtree"
)

// getLocal answers GET /db/_local/id.
func (c *call) getLocal() error {
	doc, err := c.db.Local(c.r.Context(), strings.TrimPrefix(c.docID(), localPrefix))
	if err != nil {
		return err
	}
	if doc == nil {
		return errMissing
	}
	var r renderer
	path := revtree.Path{IDs: []string{fmt.Sprint(doc.Rev)}}
	body := r.appendRevision(nil, c.docID(), path, false, &Revision{Body: doc.Body})
	return c.json(http.StatusOK, append(body, '}'))
}

// deleteLocal answers DELETE /db/_local/id.
func (c *call) deleteLocal() error {
	id := strings.TrimPrefix(c.docID(), localPrefix)
	doc, err := c.db.Local(c.r.Context(), id)
	if err != nil {
		return err
	}
	if doc == nil {
		return errMissing
	}
	if err := c.db.PutLocal(c.r.Context(), id, nil); err != nil {
		return err
	}
	return c.json(http.StatusOK, appendAccepted(nil, c.docID(), revtree.Rev{Hash: "0"}))
}

// localDocs answers GET /db/_local_docs.
func (c *call) localDocs() error {
	ids, err := c.db.LocalIDs(c.r.Context())
	if err != nil {
		return err
	}
	body := []byte(`{"total_rows":null,"offset":null,"rows":[`)
	rows := 0
	for _, id := range ids {
		doc, err := c.db.Local(c.r.Context(), id)
		if err != nil {
			return err
		}
		if doc == nil {
			continue // removed since it was listed
		}
		if rows > 0 {
			body = append(body, ',')
		}
		rows++
		quoted := appendString(nil, localPrefix+id)
		body = fmt.Appendf(body, "\n{\"id\":%[1]s,\"key\":%[1]s,\"value\":{\"rev\":\"0-%[2]d\"}}", quoted, doc.Rev)
	}
	return c.json(http.StatusOK, append(body, "\n]}"...))
}
