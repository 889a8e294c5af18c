// Package dataset fills databases with known data, for black-box tests and
// benchmarks. It speaks plain HTTP and shares nothing with the product, so that
// no mistake of the product's client can hide in the tests.
//
// The same seed gives the same data; what a server decides (revisions of plain
// edits) is the server's.
package dataset

import (
	"context"

	"millrace/e2e/peer"
)

// Dataset writes data into the database at the URL db, whose name and credentials
// are in it. What it writes keeps to what can says: give the capabilities that
// the source and the targets of a replication share. Errors are those of HTTP or
// say what the server refused.
type Dataset func(ctx context.Context, db string, can peer.Capabilities, seed uint64) error

// Empty is no data.
func Empty(context.Context, string, peer.Capabilities, uint64) error { return nil }

// Awkward is a few hundred documents of every kind that was ever replicated
// wrongly: trees of conflicts and deletions, long histories, ids and bodies that
// have to be escaped, attachments of all forms, and design documents that
// validate. Its revisions are the same on every server, but for attachments that
// change from revision to revision and design documents.
func Awkward(ctx context.Context, db string, can peer.Capabilities, seed uint64) error {
	w, err := newWriter(db)
	if err != nil {
		return err
	}
	defer w.close()
	g := newGenerator(seed)
	for _, docs := range [][]document{
		trees(g), names(g), bodies(g, can), inlineAttachments(g, can),
	} {
		if err := w.replicate(ctx, docs); err != nil {
			return err
		}
	}
	if err := editedAttachments(ctx, w, g, can); err != nil {
		return err
	}
	// Last, since a server may run the validating one for all that follows.
	return w.replicate(ctx, designs(g))
}
