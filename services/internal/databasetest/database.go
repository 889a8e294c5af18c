// Package databasetest gives tests databases on servers of their own, which can be made to fail and
// count what they are asked.
package databasetest

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/checkpoint"
	"millrace/pkg/couch"
	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
)

// Database is a database on a server of its own, which can be made to fail and
// counts what it is asked.
type Database struct {
	*couch.DB
	Server *millpond.Server
	// URL of the database, without credentials.
	URL string
	// User and Password open the database; empty for everybody.
	User, Password string
}

// New starts a server with one empty database.
func New(t *testing.T, o millpond.Options) *Database {
	t.Helper()
	d := &Database{Server: millpond.New(o), User: o.AdminUser, Password: o.AdminPassword}
	listener, err := d.Server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	})
	d.URL = listener.URL + "/db"
	endpoint := couch.Endpoint{URL: d.URL, Username: d.User, Password: d.Password}
	if d.DB, err = couch.Open(endpoint, couch.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.DB.Close)
	d.Recreate(t)
	return d
}

// Address is the database's URL with the credentials in it, as a replication
// document has it.
func (d *Database) Address() string {
	if d.User == "" {
		return d.URL
	}
	return strings.Replace(d.URL, "://", "://"+d.User+":"+d.Password+"@", 1)
}

// Recreate deletes the database, if it is there, and makes it anew.
func (d *Database) Recreate(t *testing.T) {
	t.Helper()
	if err := d.Delete(t.Context()); err != nil && !couch.IsNotFound(err) {
		t.Fatal(err)
	}
	if err := d.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

// Fill writes n small documents, numbered from first.
func (d *Database) Fill(t *testing.T, first, n int) {
	t.Helper()
	var docs [][]byte
	for i := first; i < first+n; i++ {
		docs = append(docs, fmt.Appendf(nil, `{"_id":"doc-%06d","n":%d}`, i, i))
	}
	results, err := d.BulkDocs(t.Context(), docs, couch.BulkDocsOptions{NewEdits: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != "" {
			t.Fatalf("document %s: %s", r.ID, r.Err)
		}
	}
}

// Write writes revisions as they are, with their histories.
func (d *Database) Write(t *testing.T, docs ...string) {
	t.Helper()
	bodies := make([][]byte, len(docs))
	for i, doc := range docs {
		bodies[i] = []byte(doc)
	}
	results, err := d.BulkDocs(t.Context(), bodies, couch.BulkDocsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != "" {
			t.Fatalf("document %s: %s: %s", r.ID, r.Err, r.Reason)
		}
	}
}

// Leaves returns the leaf revisions of each document, sorted.
func (d *Database) Leaves(t *testing.T) map[string][]string {
	t.Helper()
	changes, err := d.Changes(t.Context(), couch.ChangesOptions{Style: couch.StyleAllDocs})
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Close() //nolint:errcheck // nothing is written
	leaves := map[string][]string{}
	for {
		row, err := changes.Next()
		if err == io.EOF {
			return leaves
		}
		if err != nil {
			t.Fatal(err)
		}
		leaves[row.ID] = slices.Sorted(slices.Values(row.Revs))
	}
}

// SameLeaves fails the test unless both databases have the same leaf revisions.
func SameLeaves(t *testing.T, source, target *Database) {
	t.Helper()
	want, got := source.Leaves(t), target.Leaves(t)
	for id, revs := range want {
		if !slices.Equal(revs, got[id]) {
			t.Errorf("document %s: leaves %v at the source and %v at the target", id, revs, got[id])
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d documents at the source and %d at the target", len(want), len(got))
	}
}

// Checkpoint returns the job's checkpoint document, nil if there is none.
func (d *Database) Checkpoint(t *testing.T, job *millracev1.Job) *checkpoint.Log {
	t.Helper()
	base, _, _ := strings.Cut(job.ReplicationId, "+")
	log := &checkpoint.Log{}
	err := d.GetLocal(t.Context(), base, log)
	if couch.IsNotFound(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// PutAttachment makes a document with one attachment of a type that servers do not compress,
// such as images.
func (d *Database) PutAttachment(t *testing.T, id, name, content string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, d.URL+"/"+id+"/"+name, strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/octet-stream")
	if d.User != "" {
		request.SetBasicAuth(d.User, d.Password)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is read only
	if answer.StatusCode != http.StatusCreated {
		t.Fatalf("PUT %s/%s: %s", id, name, answer.Status)
	}
}
