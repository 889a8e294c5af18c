package main

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/spf13/pflag"

	"millrace/pkg/couch"
	"millrace/pkg/replication"
)

func TestDocumentIDsOfTheCommandLineAreTakenAsTheyAre(t *testing.T) {
	ids := []string{"a+b", "a b", "%2F", "100%", "_design/a/b%20c", "caf\u00e9"}
	slices.Sort(ids)
	var flags documentFlags
	flags.add(pflag.NewFlagSet("replicate", pflag.ContinueOnError))
	flags.docIDs = ids
	doc, err := flags.document(couch.Endpoint{URL: "http://127.0.0.1/a"}, couch.Endpoint{URL: "http://127.0.0.1/b"})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := replication.ParseSpec(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := spec.Jobs()[0].DocIDs; !slices.Equal(got, ids) {
		t.Errorf("got %q, want %q", got, ids)
	}
}
