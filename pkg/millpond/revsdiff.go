package millpond

import (
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/revtree"
)

// revsDiff answers POST /db/_revs_diff.
func (c *call) revsDiff() error {
	rows, err := c.diff(func(dst []byte, missing, ancestors []revtree.Rev) []byte {
		dst = append(dst, `{"missing":`...)
		dst = appendRevs(dst, missing)
		if len(ancestors) > 0 {
			dst = append(dst, `,"possible_ancestors":`...)
			dst = appendRevs(dst, ancestors)
		}
		return append(dst, '}')
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, rows)
}

// missingRevs answers POST /db/_missing_revs.
func (c *call) missingRevs() error {
	rows, err := c.diff(func(dst []byte, missing, _ []revtree.Rev) []byte { return appendRevs(dst, missing) })
	if err != nil {
		return err
	}
	body := append([]byte(`{"missing_revs":`), rows...)
	return c.json(http.StatusOK, append(body, '}'))
}

// diff makes an object with a member for every document of the request that lacks
// revisions.
func (c *call) diff(appendRow func(dst []byte, missing, ancestors []revtree.Rev) []byte) ([]byte, error) {
	body, err := c.jsonBody()
	if err != nil {
		return nil, err
	}
	out := []byte{'{'}
	var revs []revtree.Rev
	err = eachMember(body, all, func(m member) error {
		revs, err = parseRevs(m.value, revs[:0])
		if err != nil {
			return err
		}
		doc, err := c.db.Doc(c.r.Context(), m.name)
		if err != nil {
			return err
		}
		var tree Tree
		if doc != nil {
			tree = doc.Tree
		}
		missing, ancestors := tree.Missing(revs)
		if len(missing) == 0 {
			return nil
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = appendString(out, m.name)
		out = append(out, ':')
		out = appendRow(out, missing, ancestors)
		return nil
	})
	return append(out, '}'), err
}

// parseRevs reads a JSON array of revisions and appends them to dst.
func parseRevs(v jsontext.Value, dst []revtree.Rev) ([]revtree.Rev, error) {
	if v.Kind() != '[' {
		return nil, badRequest("Invalid list of revisions")
	}
	err := eachElement(v, func(v jsontext.Value) error {
		text, ok := stringValue(v)
		if !ok {
			return errBadRev
		}
		rev, err := revtree.Parse(text)
		if err != nil {
			return errBadRev
		}
		dst = append(dst, rev)
		return nil
	})
	return dst, err
}
