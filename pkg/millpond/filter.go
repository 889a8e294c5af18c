package millpond

import (
	"net/http"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// filter says whether a document's changes are shown; nil shows all.
type filter func(doc *Doc) bool

func (f filter) passes(doc *Doc) bool { return f == nil || f(doc) }

// parseFilter reads the filter of a _changes request. Those that need a query
// server or Mango are refused: Millpond has neither.
func (c *call) parseFilter() (filter, error) {
	switch name := c.query.Get("filter"); {
	case name == "":
		return nil, nil
	case name == "_doc_ids":
		return c.docIDsFilter()
	case name == "_design":
		return func(doc *Doc) bool { return strings.HasPrefix(doc.ID, "_design/") }, nil
	case name == "_selector", name == "_view":
		return nil, notImplemented("filter=" + name)
	case strings.HasPrefix(name, "_"):
		return nil, badRequest("unknown builtin filter name")
	case !strings.Contains(name, "/"):
		return nil, badRequest("`filter` must be of the form `designname/filtername`")
	default:
		return nil, c.functionFilter(name)
	}
}

// functionFilter finds out how to refuse a filter function.
func (c *call) functionFilter(name string) error {
	ddoc, _, _ := strings.Cut(name, "/")
	doc, err := c.db.Doc(c.r.Context(), "_design/"+ddoc)
	if err != nil {
		return err
	}
	if doc == nil || doc.Tree.Winner().Deleted() {
		return errMissing
	}
	return notImplemented("a filter function")
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
	return func(doc *Doc) bool { return ids[doc.ID] }, err
}
