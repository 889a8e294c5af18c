package dataset

import "fmt"

// leafCounts are the numbers of conflicting leaves of trees' documents.
var leafCounts = []int{2, 3, 10, 100}

// maxRevisions is CouchDB's default of _revs_limit: no history is longer.
const maxRevisions = 1000

// trees are documents whose difficulty is the shape of their revision trees.
func trees(g generator) []document {
	var docs []document
	for _, n := range leafCounts {
		docs = append(docs, conflict(g, fmt.Sprintf("tree-conflict-%d", n), n, 0)...)
	}
	docs = append(docs, conflict(g, "tree-conflict-some-deleted", 5, 2)...)
	docs = append(docs, conflict(g, "tree-conflict-one-alive", 4, 3)...)
	docs = append(docs, conflict(g, "tree-conflict-all-deleted", 3, 3)...)
	docs = append(docs, unrelated(g, "tree-unrelated-roots", 3)...)
	docs = append(docs, unevenBranches(g, "tree-uneven-branches")...)
	docs = append(docs, deletions(g)...)
	return append(docs,
		line(g, "tree-history-full", maxRevisions, maxRevisions),
		line(g, "tree-history-stemmed", 5000, maxRevisions),
		line(g, "tree-history-lost", 7, 1),
		line(g, "tree-history-one", 1, 1),
	)
}

// line is a document with one branch of which the newest known revisions are left.
func line(g generator, id string, generation, known int) document {
	return document{id: id, start: generation, history: g.hashes(known), fields: fmt.Sprintf(`"generation":%d`, generation)}
}

// conflict has n leaves of different generations below one root, of which the
// first are deleted.
func conflict(g generator, id string, n, deleted int) []document {
	root := g.hash()
	docs := make([]document, 0, n)
	for i := range n {
		own := 1 + i%5 // generations above the root
		docs = append(docs, document{
			id: id, start: 1 + own, history: append(g.hashes(own), root),
			deleted: i < deleted, fields: fmt.Sprintf(`"leaf":%d`, i),
		})
	}
	return docs
}

// unrelated has leaves that share no ancestor: the same id was made in several places.
func unrelated(g generator, id string, n int) []document {
	docs := make([]document, 0, n)
	for i := range n {
		docs = append(docs, document{id: id, start: 1 + i, history: g.hashes(1 + i), fields: fmt.Sprintf(`"place":%d`, i)})
	}
	return docs
}

// unevenBranches has one leaf near the root and one 900 generations on.
func unevenBranches(g generator, id string) []document {
	root := g.hash()
	return []document{
		{id: id, start: 2, history: []string{g.hash(), root}, fields: `"branch":"short"`},
		{id: id, start: 901, history: append(g.hashes(900), root), fields: `"branch":"long"`},
	}
}

// deletions are documents that are gone, and one that came back.
func deletions(g generator) []document {
	back := g.hashes(2)
	return []document{
		{id: "tree-deleted", start: 2, history: g.hashes(2), deleted: true},
		{id: "tree-deleted-with-body", start: 3, history: g.hashes(3), deleted: true, fields: `"owner":"joe","why":"tidying"`},
		{id: "tree-deleted-at-birth", start: 1, history: g.hashes(1), deleted: true},
		{id: "tree-deleted-and-back", start: 2, history: back, deleted: true},
		{id: "tree-deleted-and-back", start: 3, history: append(g.hashes(1), back...), fields: `"back":true`},
	}
}
