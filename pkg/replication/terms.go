package replication

import (
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Terms are what may differ from one target of a replication to the next: what goes there,
// and how the database is made that is not there.
type Terms struct {
	CreateTarget       bool
	CreateTargetParams url.Values
	Selection
}

// Selection says which revisions are replicated; the zero value says all.
type Selection struct {
	// At most one of DocIDs, Filter and Selector is given. DocIDs is sorted,
	// without repetitions, and not nil when given: an empty one selects nothing.
	DocIDs []string
	// Filter is "designdoc/name", or a built-in such as "_view"; "" for none.
	Filter string
	// QueryParams is the raw object of the filter's parameters, nil if absent.
	QueryParams jsontext.Value
	// Selector is the raw Mango selector, nil if absent.
	Selector jsontext.Value
	// SkipDeletes is ours: deletions are not replicated. It goes with any of the others.
	SkipDeletes bool
}

// FilterDesignDoc returns the design document, without "_design/", and the name
// of the filter function that has to be fetched from the source to compute the
// id; false when there is none.
func (s *Selection) FilterDesignDoc() (designDoc, name string, ok bool) {
	if s.Filter == "" || s.builtinFilter() {
		return "", "", false
	}
	return strings.Cut(s.Filter, "/")
}

// View returns the design document, without "_design/", and the view of the
// built-in filter _view; false for any other filter.
func (s *Selection) View() (designDoc, view string, ok bool) {
	if s.Filter != "_view" {
		return "", "", false
	}
	param, ok := viewParam(s.QueryParams)
	if !ok {
		return "", "", false
	}
	return strings.Cut(param, "/")
}

func (s *Selection) builtinFilter() bool { return strings.HasPrefix(s.Filter, "_") }

// option reads one of the terms; place is what its name follows in errors: "" in a document,
// "targets[3]." in a target's entry.
func (t *Terms) option(place, name string, v jsontext.Value) (known bool, err error) {
	field := place + name
	switch name {
	case "create_target":
		err = asBool(field, v, &t.CreateTarget)
	case "create_target_params":
		t.CreateTargetParams, err = createParams(field, v)
	case "doc_ids":
		if v.Kind() != 'n' { // null means absent
			t.DocIDs, err = docIDs(field, v)
		}
	case "filter":
		t.Filter, err = filterName(field, v)
	case "query_params":
		err = asObject(field, "an object", v, &t.QueryParams)
	case "selector":
		err = asObject(field, "a JSON object", v, &t.Selector)
	case "skip_deletes":
		err = asBool(field, v, &t.SkipDeletes)
	default:
		return false, nil
	}
	return true, err
}

// check looks at what the options are together; place as in option.
func (s *Selection) check(place string) error {
	if s.Selector != nil {
		_, err := parseSelector(place+"selector", s.Selector)
		return err
	}
	if s.QueryParams != nil {
		if _, err := s.queryParams(place); err != nil {
			return err
		}
	}
	if s.Filter == "_view" {
		if _, ok := viewParam(s.QueryParams); !ok {
			return refuse(place+"query_params", "Invalid `view` parameter.")
		}
	}
	return nil
}

// exclusive: two ways to choose documents contradict each other.
func exclusive(place string, members map[string]jsontext.Value) error {
	if len(chosen(members)) > 1 {
		return refuse(place+"filter", "`doc_ids`,`filter`,`selector` are mutually exclusive")
	}
	return nil
}

// chosen are the ways to choose documents that members have.
func chosen(members map[string]jsontext.Value) (fields []string) {
	for _, field := range []string{"doc_ids", "filter", "selector"} {
		v, ok := members[field]
		if ok && (field != "doc_ids" || v.Kind() != 'n') {
			fields = append(fields, field)
		}
	}
	return fields
}
