package millpond

import (
	"errors"
	"net/http"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/mango"
)

// selectorFilter reads the selector in the body of a POST. Each leaf is judged by
// itself, as a document without what only a reader asks for.
func (c *call) selectorFilter() (filter, error) {
	if c.r.Method != http.MethodPost {
		return nil, badRequest("Selector must be specified in POST payload")
	}
	body, err := c.jsonBody()
	if err != nil {
		return nil, err
	}
	text := jsontext.Value("null")
	fields := false
	err = eachMember(body, all, func(m member) error {
		switch m.name {
		case "selector":
			text = m.value
		case "fields":
			fields = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	selector, err := mango.Parse(text)
	if err != nil {
		return nil, selectorError(err)
	}
	if fields && c.flag("include_docs") {
		return nil, notImplemented("fields beside a selector")
	}
	return func(doc *Doc, leaves []*Node) ([]*Node, error) { return matching(selector, doc, leaves) }, nil
}

func selectorError(err error) error {
	var refused *mango.Error
	switch {
	case errors.As(err, &refused):
		return badRequest(refused.Reason)
	case errors.Is(err, mango.ErrNotObject):
		return badRequest("Selector error: expected a JSON object")
	}
	return errBadJSON
}

func matching(selector *mango.Selector, doc *Doc, leaves []*Node) (kept []*Node, err error) {
	var r renderer
	for _, leaf := range leaves {
		text, err := r.appendDoc(nil, doc, leaf, false)
		if err != nil {
			return nil, err
		}
		shown, err := mango.Decode(text)
		if err != nil {
			return nil, err
		}
		matched, err := selector.Match(shown)
		if err != nil {
			return nil, err
		}
		if matched {
			kept = append(kept, leaf)
		}
	}
	return kept, nil
}
