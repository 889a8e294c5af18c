package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"millrace/e2e/compare"
	"millrace/e2e/dataset"
	"millrace/e2e/peer"
	"millrace/e2e/program"
)

func TestMain(m *testing.M) { peer.Main(m) }

// patience is how long a test waits for two databases to become the same. It says
// that they never will, and nothing about speed.
const patience = 2 * time.Minute

// poll is how often what nobody tells is looked at.
const poll = 100 * time.Millisecond

// scenario is a source and a target that a test replicates between.
type scenario struct {
	*testing.T
	pair           peer.Pair
	source, target string
	uuid           string // of the server that replicates
}

// eachPair runs a test on every pair of servers, with two empty databases.
func eachPair(t *testing.T, test func(s scenario)) {
	for _, pair := range peer.Pairs(t) {
		t.Run(pair.Name(), func(t *testing.T) { test(between(t, pair)) })
	}
}

// between makes two empty databases on the servers of a pair.
func between(t *testing.T, pair peer.Pair) scenario {
	t.Helper()
	source, target := pair.NewDBs(t)
	return scenario{T: t, pair: pair, source: source, target: target, uuid: "00112233445566778899aabbccddeeff"}
}

// onMillponds is a scenario on servers that are always there, for what does not
// depend on the server.
func onMillponds(t *testing.T) scenario {
	t.Helper()
	server := peer.OfKind(t, peer.Millpond)[0]
	return between(t, peer.Pair{Source: server, Target: server})
}

// fill writes data into the source.
func (s scenario) fill(data dataset.Dataset) {
	s.Helper()
	if err := data(s.Context(), s.source, s.pair.Shared(), 1); err != nil {
		s.Fatal(err)
	}
}

// edit makes n edits of documents with this prefix in one of the databases. No two
// calls of a test may have the same seed: PouchDB takes two revisions whose hashes
// are equal for one.
func (s scenario) edit(db, prefix string, n int, seed uint64) dataset.Edits {
	s.Helper()
	editor, err := dataset.NewEditor(db, prefix, seed)
	if err != nil {
		s.Fatal(err)
	}
	defer editor.Close()
	if err := editor.Edit(s.Context(), n); err != nil {
		s.Fatal(err)
	}
	return editor.Done()
}

// replicate runs millrace replicate with a data directory of its own: what it knows
// of a replication before it knows from the databases.
func (s scenario) replicate(args ...string) *program.Replication {
	s.Helper()
	return program.Replicate(s.T, append([]string{s.source, s.target, "--uuid", s.uuid}, args...)...)
}

// same fails the test unless both judges find the databases the same.
func (s scenario) same() {
	s.Helper()
	compare.Require(s.T, s.source, s.target, compare.For(s.pair))
	s.verify()
}

// verified is what the report of millrace verify says.
type verified struct {
	Same      bool `json:"same"`
	Documents int  `json:"matching_documents"`
	// Differences by kind.
	A struct {
		MissingLeaves int `json:"missing_leaves"`
	}
	B struct {
		MissingLeaves int `json:"missing_leaves"`
	}
	Winner      int `json:"winner_deleted_differs"`
	Leaf        int `json:"leaf_deleted_differs"`
	Body        int `json:"body_differs"`
	History     int `json:"history_differs"`
	Attachments int `json:"attachments_differ"`
}

// verify asks millrace verify --bodies. It is strict: where a server cannot keep what
// the other has (numbers beyond float64, encodings and revpos of attachments), it says
// so, and only of that it may.
func (s scenario) verify() {
	s.Helper()
	p := program.Start(s.T, program.Millrace, []string{"verify", "--bodies", "--json", s.source, s.target})
	code := p.Wait()
	var v verified
	if err := json.Unmarshal([]byte(p.Stdout.String()), &v); err != nil {
		s.Fatalf("millrace verify ended with %d and printed %q: %v", code, p.Stdout, err)
	}
	o := compare.For(s.pair)
	if o.AnyEncoding || o.AnyRevpos {
		v.Attachments = 0
	}
	if o.Numbers != compare.Text {
		v.Body = 0
	}
	differences := v.A.MissingLeaves + v.B.MissingLeaves + v.Winner + v.Leaf + v.Body + v.History + v.Attachments
	if wanted := map[bool]int{true: program.ExitOK, false: program.ExitDifferent}[v.Same]; code != wanted || differences > 0 {
		s.Errorf("millrace verify ended with %d: %s", code, p.Stdout)
	}
}

// settled waits until the databases are the same.
func (s scenario) settled() {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(poll)
	defer ticker.Stop()
	o := compare.For(s.pair)
	o.LeavesOnly = true
	for {
		report, err := compare.Databases(ctx, s.source, s.target, o)
		switch {
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			s.Fatal(err)
		case err == nil && report.Same():
			return
		}
		select {
		case <-ctx.Done():
			s.Fatalf("the databases do not become the same: %s", report)
		case <-ticker.C:
		}
	}
}
