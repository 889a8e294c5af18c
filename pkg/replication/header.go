package replication

import (
	"cmp"
	"slices"
	"strings"
)

// Header is one header that a document gives for its endpoint. Values may be
// secrets, such as a bearer token.
type Header struct {
	Name  string
	Value Secret
}

// CouchDB sends these with every request unless the document overrides them by
// exactly the same name; they take no part in the replication id. The second
// has the version of the server that the id is compatible with.
const (
	acceptHeader    = "Accept"
	acceptValue     = "application/json"
	userAgentHeader = "User-Agent"
	userAgentValue  = "CouchDB-Replicator/3.5.0"
)

// uniqueHeaders sorts headers by name as written. Of the same name the first
// counts.
func uniqueHeaders(headers []Header) []Header {
	slices.SortStableFunc(headers, func(a, b Header) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(headers, func(a, b Header) bool { return a.Name == b.Name })
}

// identityHeaders are the headers that the replication id is made of, in order.
// They are those of the document without a Basic authorization. If there is an
// authorization at all, CouchDB has passed them through a case-insensitive
// table.
func identityHeaders(headers []Header) []Header {
	all := slices.Clone(headers)
	for _, d := range []Header{{acceptHeader, acceptValue}, {userAgentHeader, userAgentValue}} {
		if !slices.ContainsFunc(all, func(h Header) bool { return h.Name == d.Name }) {
			all = append(all, d)
		}
	}
	all = uniqueHeaders(all)
	if slices.ContainsFunc(all, isAuthorization) {
		all = slices.DeleteFunc(foldCase(all), isBasic)
	}
	return slices.DeleteFunc(all, func(h Header) bool {
		return h == Header{acceptHeader, acceptValue} || h == Header{userAgentHeader, userAgentValue}
	})
}

// foldCase joins the values of names that differ in case only, under the name
// that came first, and sorts without regard to case.
func foldCase(headers []Header) []Header {
	var folded []Header
	at := make(map[string]int)
	for _, h := range headers {
		key := strings.ToLower(h.Name)
		value := Secret(strings.Trim(string(h.Value), " \n\t"))
		if i, ok := at[key]; ok {
			folded[i].Value += ", " + value
			continue
		}
		at[key] = len(folded)
		folded = append(folded, Header{h.Name, value})
	}
	slices.SortStableFunc(folded, func(a, b Header) int {
		return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	return folded
}

func isAuthorization(h Header) bool { return strings.EqualFold(h.Name, "Authorization") }

// isBasic reports an Authorization header of the scheme Basic.
func isBasic(h Header) bool {
	scheme, _, found := strings.Cut(string(h.Value), " ")
	return isAuthorization(h) && found && strings.EqualFold(scheme, "Basic")
}
