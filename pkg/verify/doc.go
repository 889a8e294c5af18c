// Package verify says whether two databases hold the same, leaf by leaf: the ids,
// all leaf revisions of each document, what is deleted, and if asked the bodies,
// histories and attachments.
//
// It reads `_changes?style=all_docs` of both databases and asks neither what it
// lacks: a replicator's own question, `_revs_diff`, would not notice its own
// mistakes. Two readings of a sharded database never come in the same order, so the
// rows are sorted by id, in bounded memory and beyond it in temporary files, and then
// joined (invariant 5).
//
// [CompareTargets] compares targets with what filters choose of one source, which it reads once for
// all of them. It decides on every leaf with package filter, as the source's own feed would, and
// the rows of each filter are a sorted section of one temporary file.
//
// What replication does not promise is not compared: `_local` documents (which no
// feed lists), `_security`, seqs, revisions that are no leaves, and how far back a
// history is kept.
//
// Databases may be written to meanwhile. A document that differed is then looked at
// again, a bounded number of times; see [Options].
package verify
