package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// selection are the fields of a document that the flags give to choose what is replicated.
func (d *documentFlags) selection() (map[string]any, error) {
	fields := map[string]any{}
	ids, err := d.ids()
	if err != nil {
		return nil, err
	}
	if ids != nil {
		fields["doc_ids"] = quoted(ids)
	}
	if d.flags.Changed("selector") {
		if !json.Valid([]byte(d.selector)) {
			return nil, fmt.Errorf("--selector: not JSON: %s", d.selector)
		}
		fields["selector"] = json.RawMessage(d.selector)
	}
	if d.flags.Changed("filter") {
		fields["filter"] = d.filter
	}
	if len(d.queryParams) > 0 {
		if fields["query_params"], err = parameters(d.queryParams); err != nil {
			return nil, err
		}
	}
	return fields, nil
}

// parameters is an object of name=value, in their order, which is part of the replication's id.
func parameters(given []string) (json.RawMessage, error) {
	var object bytes.Buffer
	for i, one := range given {
		name, value, ok := strings.Cut(one, "=")
		if !ok {
			return nil, fmt.Errorf("--query-param: expected name=value, got %q", one)
		}
		object.WriteByte("{,"[min(i, 1)])
		for i, text := range []string{name, value} {
			encoded, err := json.Marshal(text)
			if err != nil {
				return nil, err
			}
			if i > 0 {
				object.WriteByte(':')
			}
			object.Write(encoded)
		}
	}
	object.WriteByte('}')
	return object.Bytes(), nil
}

// ids are the documents of the flags; nil when no flag names any.
func (d *documentFlags) ids() ([]string, error) {
	var ids []string
	ids = append(append(ids, d.docIDs...), d.eachDocID...)
	if d.docIDsFile == "" {
		return ids, nil
	}
	f, err := os.Open(d.docIDsFile)
	if err != nil {
		return nil, fmt.Errorf("--doc-ids-file: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if id := lines.Text(); id != "" {
			ids = append(ids, id)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("--doc-ids-file: %w", err)
	}
	if ids == nil {
		ids = []string{} // an empty file names no document, which is not all of them
	}
	return ids, nil
}

// quoted are ids as a document has them, in which CouchDB decodes percent escapes, and
// a plus sign to a space. On the command line an id is what it is.
func quoted(ids []string) []string {
	escape := strings.NewReplacer("%", "%25", "+", "%2B")
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = escape.Replace(id)
	}
	return out
}
