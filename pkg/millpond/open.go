package millpond

import (
	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/revtree"
)

// opened is one revision that was asked for: found, or missing.
type opened struct {
	rev  revtree.Rev
	node *Node // nil if missing
}

// openRevs finds revisions of a document as GET /db/doc?open_revs= and _bulk_get
// do: all leaves if revs is nil; with latest the leaves below each revision, one
// that two share only once. A revision whose body is gone is missing.
func openRevs(doc *Doc, revs []revtree.Rev, latest bool) []opened {
	var tree Tree
	if doc != nil {
		tree = doc.Tree
	}
	if revs == nil {
		return openAll(tree)
	}
	var found []opened
	for _, rev := range revs {
		var nodes []*Node
		if latest {
			nodes = tree.LeavesFrom(rev)
		} else if node := tree.Find(rev); node != nil {
			nodes = []*Node{node}
		}
		found = appendOpened(found, rev, nodes)
	}
	return found
}

func openAll(tree Tree) []opened {
	leaves := tree.Leaves()
	found := make([]opened, 0, len(leaves))
	for _, leaf := range leaves {
		found = append(found, opened{rev: leaf.Rev(), node: leaf})
	}
	return found
}

func appendOpened(found []opened, asked revtree.Rev, nodes []*Node) []opened {
	present := false
	for _, node := range nodes {
		if _, ok := node.Value(); !ok {
			continue
		}
		present = true
		if !contains(found, node) {
			found = append(found, opened{rev: node.Rev(), node: node})
		}
	}
	if !present {
		found = append(found, opened{rev: asked})
	}
	return found
}

func contains(found []opened, node *Node) bool {
	for _, o := range found {
		if o.node == node {
			return true
		}
	}
	return false
}

// renderer reads what is to be shown of documents from the query.
func (c *call) renderer() (renderer, error) {
	meta := c.flag("meta")
	r := renderer{
		revs:             c.flag("revs"),
		revsInfo:         c.flag("revs_info") || meta,
		conflicts:        c.flag("conflicts") || meta,
		deletedConflicts: c.flag("deleted_conflicts") || meta,
		localSeq:         c.flag("local_seq"),
		attachments:      c.flag("attachments"),
		encodingInfo:     c.flag("att_encoding_info"),
	}
	if !c.query.Has("atts_since") {
		return r, nil
	}
	since, err := parseQueryRevs(c.query.Get("atts_since"))
	r.attsSince, r.attachments = since, true
	return r, err
}

// parseQueryRevs reads revisions from a JSON array in a query; never nil without
// an error.
func parseQueryRevs(text string) ([]revtree.Rev, error) {
	v := jsontext.Value(text)
	if !v.IsValid(scanOptions) {
		return nil, errBadJSON
	}
	return parseRevs(v, []revtree.Rev{})
}
