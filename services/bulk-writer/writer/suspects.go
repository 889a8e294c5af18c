package writer

import "strings"

// suspicious separates the documents that CouchDB refuses a whole request for
// at a look, so that the rest need not be searched: ids that are empty or begin with an
// underscore, and revisions that are not N-hash.
func suspicious(docs []document) (suspects, rest []document) {
	for _, d := range docs {
		if badID(d.ref.Id) || badRev(d.ref.Rev) {
			suspects = append(suspects, d)
			continue
		}
		rest = append(rest, d)
	}
	return suspects, rest
}

func badID(id string) bool {
	if id == "" {
		return true
	}
	return id[0] == '_' && (!strings.HasPrefix(id, "_design/") || id == "_design/")
}

func badRev(rev string) bool {
	generation, hash, ok := strings.Cut(rev, "-")
	if !ok || generation == "" || hash == "" || generation[0] == '0' {
		return true
	}
	return strings.Trim(generation, "0123456789") != ""
}
