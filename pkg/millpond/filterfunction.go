package millpond

import (
	"errors"
	"hash/crc32"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/queryserver"
)

// functionFilter is the filter "designname/filtername".
func (c *call) functionFilter(name string) (filter, error) {
	switch parts := nameParts(name); len(parts) {
	case 0:
		return nil, nil
	case 2:
		return c.compile(parts[0], queryserver.Function{Name: parts[1]})
	}
	return nil, badRequest("`filter` must be of the form `designname/filtername`")
}

// viewFilter is the filter _view, whose view is a parameter of its own.
func (c *call) viewFilter() (filter, error) {
	name := c.query.Get("view")
	if name == "" {
		return nil, badRequest("`view` filter parameter is not provided.")
	}
	switch parts := nameParts(name); len(parts) {
	case 0:
		return nil, badRequest("`view` must be of the form `designname/viewname`")
	case 2:
		return c.compile(parts[0], queryserver.Function{Name: parts[1], View: true})
	default: // CouchDB has no clause for it
		text := strings.Join(parts, "")
		return nil, &Error{
			Status: http.StatusInternalServerError, Name: "case_clause", Reason: text, ref: crc32.ChecksumIEEE([]byte(text)),
		}
	}
}

// nameParts splits a name that was unescaped with the query, and is so once more here.
func nameParts(name string) []string {
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
	for i, part := range parts {
		if plain, err := url.QueryUnescape(part); err == nil {
			parts[i] = plain
		}
	}
	return parts
}

// compile returns the filter that calls the function of a design document.
func (c *call) compile(designDoc string, fn queryserver.Function) (filter, error) {
	ctx := c.r.Context()
	doc, err := c.db.Doc(ctx, designPrefix+designDoc)
	switch {
	case err != nil:
		return nil, err
	case doc == nil:
		return nil, errMissing
	case doc.Tree.Winner().Deleted():
		return nil, errDeleted
	}
	var r renderer
	if fn.DesignDoc, err = r.appendDoc(nil, doc, doc.Tree.Winner(), false); err != nil {
		return nil, err
	}
	info, err := c.db.Info(ctx)
	if err != nil {
		return nil, err
	}
	fn.Scope = c.name + " " + info.Instance
	if fn.Request, err = c.filterRequest(info); err != nil {
		return nil, err
	}
	compiled, err := c.server.filters.Compile(fn)
	if err != nil {
		return nil, filterError(err)
	}
	shown := renderer{ownRevision: true, conflicts: c.flag("conflicts")}
	return func(doc *Doc, leaves []*Node) ([]*Node, error) {
		texts := make([][]byte, len(leaves))
		for i, leaf := range leaves {
			winner := c.query.Get("style") != "all_docs" // of a leaf there are no conflicts
			if texts[i], err = shown.appendDoc(nil, doc, leaf, winner); err != nil {
				return nil, err
			}
		}
		chosen, err := compiled.Match(ctx, texts...)
		if err != nil {
			return nil, filterError(err)
		}
		kept := leaves[:0]
		for i, leaf := range leaves {
			if chosen[i] {
				kept = append(kept, leaf)
			}
		}
		return kept, nil
	}, nil
}

// filterError is CouchDB's answer to a function that fails. Of what failed in a shard it shows
// the term of Erlang, of which this is the part that is about the function.
func filterError(err error) error {
	var failed *queryserver.FilterError
	switch {
	case !errors.As(err, &failed):
		return err
	case failed.Doc == "" && failed.Name == "not_found":
		return newError(http.StatusNotFound, failed.Name, failed.Reason)
	case failed.Doc == "":
		return newError(http.StatusInternalServerError, failed.Name, failed.Reason)
	}
	return newError(http.StatusInternalServerError, "error", "{<<\""+failed.Name+"\">>,"+failed.Reason+"}")
}

// filterRequest is the request as filter functions see it.
func (c *call) filterRequest(info Info) (queryserver.Request, error) {
	security, err := securityOf(c.r.Context(), c.db)
	if err != nil {
		return queryserver.Request{}, err
	}
	about := appendString([]byte(`{"db_name":`), c.name)
	about = appendInt(append(about, `,"doc_count":`...), info.Docs)
	about = append(appendString(append(about, `,"instance_start_time":`...), info.Instance), '}')
	r := queryserver.Request{
		Info: about, UUID: randomHex(16), Method: c.r.Method, Path: c.parts, RawPath: c.r.URL.RequestURI(),
		Query: c.filterQuery(), Headers: c.filterHeaders(), Body: jsontext.Value(`"undefined"`),
		UserCtx: c.user.context(c.name), SecObj: security,
	}
	r.Peer, _, _ = net.SplitHostPort(c.r.RemoteAddr) // a test's has none
	if c.r.Method == http.MethodPost && c.r.ContentLength != 0 {
		if r.Body, err = c.jsonBody(); err != nil {
			return r, err
		}
	}
	return r, nil
}

// filterQuery is `req.query`: text, but for the parameters that views have.
func (c *call) filterQuery() jsontext.Value {
	out := []byte{'{'}
	for name, values := range c.query {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(appendString(out, name), ':')
		value := values[len(values)-1]
		isJSON := slices.Contains([]string{"startkey", "endkey", "key", "descending"}, name)
		if isJSON && jsontext.Value(value).IsValid(scanOptions) {
			out = append(out, value...)
			continue
		}
		out = appendString(out, value)
	}
	return append(out, '}')
}

// filterHeaders is `req.headers` without what would let a function act for the user.
func (c *call) filterHeaders() jsontext.Value {
	out := appendString([]byte(`{"Host":`), c.r.Host)
	for name, values := range c.r.Header {
		if name == "Authorization" || name == "Cookie" {
			continue
		}
		out = append(appendString(append(out, ','), name), ':')
		out = appendString(out, strings.Join(values, ", "))
	}
	return append(out, '}')
}
