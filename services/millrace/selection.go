package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"millrace/pkg/ejson"
)

// choiceFlags say what of a source belongs into its targets, in the words of a replication document, and where
// to find such a document.
type choiceFlags struct {
	flags             *pflag.FlagSet
	file              string
	docIDs, eachDocID []string
	docIDsFile        string
	selector, filter  string
	queryParams       []string
	skipDeletes       bool
	winningRevsOnly   bool
}

// add adds the flags of a command that does so ("replicate").
func (d *choiceFlags) add(f *pflag.FlagSet, does string) {
	d.flags = f
	f.StringVar(&d.file, "document", "", does+" what this `file`, CouchDB's replication document, says (- is standard input); flags say otherwise")
	f.StringSliceVar(&d.docIDs, "doc-ids", nil, does+" these documents only")
	f.StringArrayVar(&d.eachDocID, "doc-id", nil, does+" this document only; may be repeated")
	f.StringVar(&d.docIDsFile, "doc-ids-file", "", does+" the documents named in this `file` only, one a line")
	f.StringVar(&d.selector, "selector", "", does+" what this Mango selector (`JSON`) matches only")
	f.StringVar(&d.filter, "filter", "", does+" what the filter function `designdoc/name` of the source takes only, or _view, or _design")
	f.StringArrayVar(&d.queryParams, "query-param", nil, "parameter for the filter function, `name=value`; may be repeated")
	f.BoolVar(&d.skipDeletes, "skip-deletes", false, does+" no deletions")
	f.BoolVar(&d.winningRevsOnly, "winning-revs-only", false, does+" winning revisions only, no conflicts")
}

// arguments checks how many there are: a document has all databases.
func (d *choiceFlags) arguments(args []string, source, target string) error {
	if len(args) >= 2 || len(args) == 0 && d.file != "" {
		return nil
	}
	return fmt.Errorf("expected %s and %s, got %d arguments", source, target, len(args))
}

// read is the document that the flags change. Its fields stay as they are written: the
// order of query_params is part of the replication's id.
func (d *choiceFlags) read(stdin io.Reader) (map[string]any, error) {
	var text []byte
	var err error
	switch d.file {
	case "":
		return map[string]any{}, nil
	case "-":
		text, err = io.ReadAll(stdin)
	default:
		text, err = os.ReadFile(d.file)
	}
	if err != nil {
		return nil, fmt.Errorf("--document: %w", err)
	}
	members, err := ejson.Members(text)
	if err != nil {
		return nil, fmt.Errorf("--document: %w", err)
	}
	doc := make(map[string]any, len(members))
	for _, m := range members {
		doc[m.Name] = json.RawMessage(m.Value)
	}
	return doc, nil
}

// choose makes a document say what the flags do.
func (d *choiceFlags) choose(doc map[string]any) error {
	chosen, err := d.selection()
	if err != nil {
		return err
	}
	if chosen["doc_ids"] != nil || chosen["selector"] != nil || chosen["filter"] != nil {
		// Two ways to choose contradict each other: the flags' takes the place of the document's.
		for _, field := range []string{"doc_ids", "selector", "filter", "query_params"} {
			delete(doc, field)
		}
	}
	maps.Copy(doc, chosen)
	return nil
}

// selection are the fields of a document that the flags give to choose what is replicated.
func (d *choiceFlags) selection() (map[string]any, error) {
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
	if d.flags.Changed("skip-deletes") {
		fields["skip_deletes"] = d.skipDeletes
	}
	if d.flags.Changed("winning-revs-only") {
		fields["winning_revs_only"] = d.winningRevsOnly
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
func (d *choiceFlags) ids() ([]string, error) {
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
