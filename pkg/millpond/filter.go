package millpond

import (
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// filter returns those of a document's leaves that a feed shows, out of the ones that
// its style shows: the winner, or all. nil shows all. It may keep leaves and change it.
type filter func(doc *Doc, leaves []*Node) ([]*Node, error)

func (f filter) of(doc *Doc, leaves []*Node) ([]*Node, error) {
	if f == nil {
		return leaves, nil
	}
	return f(doc, leaves)
}

// byDocument is a filter that looks at the document only.
func byDocument(passes func(doc *Doc) bool) filter {
	return func(doc *Doc, leaves []*Node) ([]*Node, error) {
		if !passes(doc) {
			return nil, nil
		}
		return leaves, nil
	}
}

// parseFilter reads the filter of a _changes request.
func (c *call) parseFilter() (filter, error) {
	switch name := c.query.Get("filter"); {
	case name == "":
		return nil, nil
	case name == "_doc_ids":
		return c.docIDsFilter()
	case name == "_design":
		return byDocument(func(doc *Doc) bool { return strings.HasPrefix(doc.ID, designPrefix) }), nil
	case name == "_selector":
		return c.selectorFilter()
	case name == "_view":
		return c.viewFilter()
	case strings.HasPrefix(name, "_"):
		return nil, badRequest("unknown builtin filter name")
	default:
		return c.functionFilter(name)
	}
}

// docIDsFilter reads doc_ids from the body of a POST or from the query.
func (c *call) docIDsFilter() (filter, error) {
	list := jsontext.Value(c.query.Get("doc_ids"))
	if c.r.Method == http.MethodPost {
		body, err := c.jsonBody()
		if err != nil {
			return nil, err
		}
		err = eachMember(body, all, func(m member) error {
			if m.name == "doc_ids" {
				list = m.value
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if !list.IsValid(scanOptions) || list.Kind() != '[' {
		return nil, badRequest("`doc_ids` filter parameter is not a list of doc ids.")
	}
	ids := make(map[string]bool)
	err := eachElement(list, func(v jsontext.Value) error {
		id, ok := stringValue(v)
		if !ok {
			return badRequest("`doc_ids` filter parameter is not a list of doc ids.")
		}
		ids[id] = true
		return nil
	})
	return byDocument(func(doc *Doc) bool { return ids[doc.ID] }), err
}
