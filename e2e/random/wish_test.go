package random

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// owners are whom documents belong to, and pass to; some belong to nobody.
var owners = []string{"joe", "ann", "sue", ""}

// ownedBy gives a document an owner.
func ownedBy(t *rapid.T, doc map[string]any) {
	if owner := rapid.SampledFrom(owners).Draw(t, "owner"); owner != "" {
		doc["owner"] = owner
	}
}

// wish is what a target is to have: as a replication document says it, and, apart from the product, as a
// function of a leaf.
type wish struct {
	fields string
	wants  func(id string, doc document) bool
}

// functions are the filters of the source, which are not edited.
const functions = `{"filters":{"owner":"function (doc, req) { return doc.owner == req.query.who; }"},` +
	`"views":{"even":{"map":"function (doc) { if (doc.n % 2 == 0) { emit(doc.n, null); } }"}}}`

// learn stores the filters.
func (s *side) learn(t fataler) {
	t.Helper()
	s.must(t, http.MethodPut, "/_design/f", []byte(functions))
}

func isOwner(doc document, names ...string) bool {
	return doc.Owner != nil && slices.Contains(names, *doc.Owner)
}

// wishFor draws a wish.
func wishFor(t *rapid.T) wish {
	who, other := rapid.SampledFrom(owners[:3]).Draw(t, "who"), rapid.SampledFrom(owners[:3]).Draw(t, "other")
	from := rapid.IntRange(0, documents/2).Draw(t, "from")
	w := rapid.SampledFrom([]wish{
		{``, func(string, document) bool { return true }},
		{fmt.Sprintf(`"selector":{"owner":%q}`, who), func(_ string, d document) bool { return isOwner(d, who) }},
		{fmt.Sprintf(`"selector":{"owner":{"$in":[%q,%q]}}`, who, other), func(_ string, d document) bool { return isOwner(d, who, other) }},
		{fmt.Sprintf(`"selector":{"$not":{"owner":%q}}`, who), func(_ string, d document) bool { return d.Owner != nil && *d.Owner != who }},
		{`"selector":{"owner":{"$exists":false}}`, func(_ string, d document) bool { return d.Owner == nil }},
		{`"selector":{"n":{"$mod":[3,1]}}`, func(_ string, d document) bool { return d.N != nil && *d.N%3 == 1 }},
		{fmt.Sprintf(`"selector":{"$or":[{"owner":%q},{"_deleted":true}]}`, who), func(_ string, d document) bool { return d.Deleted || isOwner(d, who) }},
		{fmt.Sprintf(`"filter":"f/owner","query_params":{"who":%q}`, who), func(_ string, d document) bool { return isOwner(d, who) }},
		{`"filter":"_view","query_params":{"view":"f/even"}`, func(_ string, d document) bool { return d.N != nil && *d.N%2 == 0 }},
		someIDs(from, documents/2),
	}).Draw(t, "wish")
	if !rapid.Bool().Draw(t, "no deletions") {
		return w
	}
	all := w.wants
	w.fields = strings.TrimPrefix(w.fields+`,"skip_deletes":true`, ",")
	w.wants = func(id string, doc document) bool { return !doc.Deleted && all(id, doc) }
	return w
}

// someIDs are n documents by name. In a replication document percent escapes are decoded.
func someIDs(from, n int) wish {
	var ids, quoted []string
	for i := range n {
		id := idOf(from + i)
		ids = append(ids, id)
		quoted = append(quoted, fmt.Sprintf("%q", strings.NewReplacer("%", "%25", "+", "%2B").Replace(id)))
	}
	return wish{`"doc_ids":[` + strings.Join(quoted, ",") + `]`, func(id string, _ document) bool { return slices.Contains(ids, id) }}
}
