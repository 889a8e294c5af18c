package millpond

import (
	"net/http"
	"slices"
	"sort"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// listing is what an _all_docs request asks for.
type listing struct {
	keys         []jsontext.Value // nil: a range
	start, end   *string
	inclusiveEnd bool
	descending   bool
	limit, skip  int
	includeDocs  bool
	render       renderer
}

// allDocs answers GET and POST /db/_all_docs.
func (c *call) allDocs() error {
	l, err := c.parseListing()
	if err != nil {
		return err
	}
	info, err := c.db.Info(c.r.Context())
	if err != nil {
		return err
	}
	if l.keys != nil {
		return c.listKeys(l, info)
	}
	return c.listRange(l, info)
}

func (c *call) parseListing() (l listing, err error) {
	params := make(map[string]jsontext.Value)
	for name, values := range c.query {
		params[name] = jsontext.Value(values[0])
	}
	if c.r.Method == http.MethodPost {
		body, err := c.jsonBody()
		if err != nil {
			return l, err
		}
		if err := eachMember(body, all, func(m member) error { params[m.name] = m.value; return nil }); err != nil {
			return l, err
		}
	}
	l = listing{
		inclusiveEnd: string(params["inclusive_end"]) != "false",
		descending:   string(params["descending"]) == "true",
		includeDocs:  string(params["include_docs"]) == "true",
		limit:        unlimited,
		render: renderer{
			conflicts:    string(params["conflicts"]) == "true",
			attachments:  string(params["attachments"]) == "true",
			encodingInfo: string(params["att_encoding_info"]) == "true",
		},
	}
	return l, l.parse(params)
}

// parse reads the parameters that can be wrong.
func (l *listing) parse(params map[string]jsontext.Value) (err error) {
	if l.limit, err = intParam(params, "limit", l.limit); err != nil {
		return err
	}
	if l.skip, err = intParam(params, "skip", 0); err != nil {
		return err
	}
	for _, p := range []struct {
		names []string
		into  []**string
	}{
		{[]string{"startkey", "start_key"}, []**string{&l.start}},
		{[]string{"endkey", "end_key"}, []**string{&l.end}},
		{[]string{"key"}, []**string{&l.start, &l.end}},
	} {
		if err := keyParam(params, p.names, p.into); err != nil {
			return err
		}
	}
	keys, ok := params["keys"]
	if !ok {
		return nil
	}
	if !keys.IsValid(scanOptions) || keys.Kind() != '[' {
		return badRequest("`keys` parameter must be an array.")
	}
	l.keys = []jsontext.Value{}
	return eachElement(keys, func(v jsontext.Value) error { l.keys = append(l.keys, v); return nil })
}

func intParam(params map[string]jsontext.Value, name string, otherwise int) (int, error) {
	text, ok := params[name]
	if !ok {
		return otherwise, nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 0 {
		return 0, queryError("Invalid value for integer: " + strconv.Quote(string(text)))
	}
	return n, nil
}

func keyParam(params map[string]jsontext.Value, names []string, into []**string) error {
	for _, name := range names {
		text, ok := params[name]
		if !ok {
			continue
		}
		if !text.IsValid(scanOptions) {
			return badRequest("invalid UTF-8 JSON")
		}
		key, ok := stringValue(text)
		if !ok {
			return queryError("`" + name + "` must be a string")
		}
		for _, p := range into {
			*p = &key
		}
	}
	return nil
}

// bounds cuts the ids in order to the range; offset is how many come before it.
func (l *listing) bounds(ids []string) (within []string, offset int) {
	low, high := l.start, l.end
	lowOpen, highOpen := false, !l.inclusiveEnd
	if l.descending {
		low, high, lowOpen, highOpen = high, low, highOpen, lowOpen
	}
	from, to := 0, len(ids)
	if low != nil {
		from = search(ids, *low, lowOpen)
	}
	if high != nil {
		to = max(from, search(ids, *high, !highOpen))
	}
	if l.descending {
		return ids[from:to], len(ids) - to
	}
	return ids[from:to], from
}

// search is the index of the first id at or, if after, behind key.
func search(ids []string, key string, after bool) int {
	return sort.Search(len(ids), func(i int) bool { return ids[i] > key || !after && ids[i] == key })
}

// listRange streams a range of ids. Deleted documents are not in it, nor in its
// offset.
func (c *call) listRange(l listing, info Info) error {
	ids, err := c.db.IDs(c.r.Context())
	if err != nil {
		return err
	}
	within, offset := l.bounds(ids)
	if info.Deleted > 0 {
		if offset, err = c.countLive(l.before(ids, offset)); err != nil {
			return err
		}
	}
	if l.descending {
		within = slices.Clone(within)
		slices.Reverse(within)
	}
	if within, offset, err = c.skip(within, offset, l.skip); err != nil {
		return err
	}
	out := c.stream("application/json")
	out.buf = append(out.buf, `{"total_rows":`...)
	out.buf = appendInt(out.buf, info.Docs)
	out.buf = append(out.buf, `,"offset":`...)
	out.buf = appendInt(out.buf, offset)
	out.buf = append(out.buf, ",\"rows\":[\n"...)
	rows := 0
	for _, id := range within {
		if rows == l.limit {
			break
		}
		doc, err := c.db.Doc(c.r.Context(), id)
		if err != nil {
			return out.abort(err)
		}
		if doc == nil || doc.Tree.Winner().Deleted() {
			continue
		}
		if rows > 0 {
			out.buf = append(out.buf, ",\n"...)
		}
		rows++
		if out.buf, err = l.appendRow(out.buf, doc); err != nil {
			return out.abort(err)
		}
		out.flushIfFull()
	}
	out.buf = append(out.buf, "\n]}\n"...)
	out.flush()
	return nil
}

// before is the ids that the range's offset counts.
func (l *listing) before(ids []string, offset int) []string {
	if l.descending {
		return ids[len(ids)-offset:]
	}
	return ids[:offset]
}

func (c *call) live(id string) (bool, error) {
	doc, err := c.db.Doc(c.r.Context(), id)
	return doc != nil && !doc.Tree.Winner().Deleted(), err
}

func (c *call) countLive(ids []string) (n int, err error) {
	for _, id := range ids {
		live, err := c.live(id)
		if err != nil {
			return 0, err
		}
		if live {
			n++
		}
	}
	return n, nil
}

// skip passes over the first n documents.
func (c *call) skip(ids []string, offset, n int) ([]string, int, error) {
	for n > 0 && len(ids) > 0 {
		live, err := c.live(ids[0])
		if err != nil {
			return nil, 0, err
		}
		ids = ids[1:]
		if live {
			n--
			offset++
		}
	}
	return ids, offset, nil
}

// appendRow appends the row of a document.
func (l *listing) appendRow(dst []byte, doc *Doc) ([]byte, error) {
	winner := doc.Tree.Winner()
	id := appendString(nil, doc.ID)
	dst = append(append(dst, `{"id":`...), id...)
	dst = append(append(dst, `,"key":`...), id...)
	dst = append(dst, `,"value":{"rev":`...)
	dst = appendString(dst, winner.Rev().String())
	if winner.Deleted() {
		dst = append(dst, `,"deleted":true`...)
	}
	dst = append(dst, '}')
	if l.includeDocs {
		dst = append(dst, `,"doc":`...)
		if winner.Deleted() {
			dst = append(dst, "null"...)
			return append(dst, '}'), nil
		}
		var err error
		if dst, err = l.render.appendDoc(dst, doc, winner, true); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

// listKeys answers with the documents named, in the order in which they are named,
// the deleted ones too.
func (c *call) listKeys(l listing, info Info) error {
	keys := l.keys[min(l.skip, len(l.keys)):]
	keys = keys[:min(l.limit, len(keys))]
	if l.descending {
		keys = slices.Clone(keys)
		slices.Reverse(keys)
	}
	out := c.stream("application/json")
	out.buf = append(out.buf, `{"total_rows":`...)
	out.buf = appendInt(out.buf, info.Docs)
	out.buf = append(out.buf, ",\"offset\":null,\"rows\":[\n"...)
	for i, key := range keys {
		if i > 0 {
			out.buf = append(out.buf, ",\n"...)
		}
		if err := c.appendKey(out, l, key); err != nil {
			return out.abort(err)
		}
		out.flushIfFull()
	}
	out.buf = append(out.buf, "\n]}\n"...)
	out.flush()
	return nil
}

func (c *call) appendKey(out *stream, l listing, key jsontext.Value) error {
	var doc *Doc
	if id, ok := stringValue(key); ok {
		var err error
		if doc, err = c.db.Doc(c.r.Context(), id); err != nil {
			return err
		}
	}
	if doc == nil {
		out.buf = append(append(out.buf, `{"key":`...), key...)
		out.buf = append(out.buf, `,"error":"not_found"}`...)
		return nil
	}
	var err error
	out.buf, err = l.appendRow(out.buf, doc)
	return err
}

func appendInt(dst []byte, n int) []byte { return strconv.AppendInt(dst, int64(n), 10) }
