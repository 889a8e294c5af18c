package millpond

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// designFields are the members of a design document whose types CouchDB checks.
var designFields = map[string]struct {
	kinds string // the first bytes of JSON values
	name  string // in CouchDB's words
}{
	"filters":             {"{", "object"},
	"language":            {`"`, "string"},
	"lists":               {"{", "object"},
	"options":             {"{", "object"},
	"rewrites":            {`"[`, "array or string"},
	"shows":               {"{", "object"},
	"updates":             {"{", "object"},
	"validate_doc_update": {`"`, "string"},
	"views":               {"{", "object"},
}

// checkDesign refuses a design document whose members have types that CouchDB
// does not take. It compiles nothing: views are not there.
func checkDesign(doc *incoming) error {
	text := append(append([]byte{'{'}, doc.body...), '}')
	return eachMember(text, all, func(m member) error {
		field, known := designFields[m.name]
		if !known || strings.ContainsRune(field.kinds, rune(jsontext.Value(m.value).Kind())) {
			return nil
		}
		return &Error{
			Status: 400, Name: "invalid_design_doc", row: true,
			Reason: "`" + m.name + "` field must have " + field.name + " type",
		}
	})
}
