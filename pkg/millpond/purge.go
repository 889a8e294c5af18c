package millpond

import (
	"net/http"
	"strings"

	"millrace/pkg/revtree"
)

// purge answers POST /db/_purge: it forgets leaves and what only they descend
// from, as if they had never been.
func (c *call) purge() error {
	body, err := c.jsonBody()
	if err != nil {
		return err
	}
	out := []byte(`{"purge_seq":null,"purged":{`)
	first := true
	err = eachMember(body, all, func(m member) error {
		revs, err := parseRevs(m.value, nil)
		if err != nil {
			return err
		}
		purged, err := c.purgeDoc(m.name, revs)
		if err != nil {
			return err
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = appendString(out, m.name)
		out = append(out, ':')
		out = appendRevs(out, purged)
		return nil
	})
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, append(out, "}}"...))
}

func (c *call) purgeDoc(id string, revs []revtree.Rev) (purged []revtree.Rev, err error) {
	if strings.HasPrefix(id, designPrefix) {
		defer c.server.validators.forget(c.name)
	}
	err = c.db.Update(c.r.Context(), id, func(tree Tree) (Tree, error) {
		var rest Tree
		rest, purged = tree.Remove(revs)
		if len(purged) == 0 {
			return Tree{}, ErrUnchanged
		}
		return rest, nil
	})
	return purged, err
}
