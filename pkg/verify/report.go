package verify

import (
	"cmp"
	"slices"
	"strings"

	"millrace/pkg/couch"
)

// Kind is what differs.
type Kind string

// The kinds of differences.
const (
	// MissingDocument: one side has no leaf of a document.
	MissingDocument Kind = "missing_document"
	// MissingLeaf: one side lacks some of a document's leaves.
	MissingLeaf Kind = "missing_leaf"
	// WinnerDeleted: a document is deleted on one side only.
	WinnerDeleted Kind = "winner_deleted"
	// LeafDeleted: a leaf is a tombstone on one side only.
	LeafDeleted Kind = "leaf_deleted"
	// Body: the bodies of a leaf have different values.
	Body Kind = "body"
	// History: neither `_revisions` of a leaf is the beginning of the other.
	History Kind = "history"
	// Attachment: an attachment of a leaf is there on one side only, or of another
	// content type, digest, length, encoding or revpos.
	Attachment Kind = "attachment"
	// Unchosen: the target has a leaf that is the source's and that the filter refuses.
	Unchosen Kind = "unchosen"
	// Foreign: the target of a filter has a leaf that the source does not know.
	Foreign Kind = "foreign"
	// LeftFilter: the target of a filter has an earlier revision of the source's, which was chosen, and
	// what has followed at the source was not. This is how a replication leaves it, and no difference.
	LeftFilter Kind = "left_filter"
	// Unreadable: a leaf is listed in the feed and cannot be opened.
	Unreadable Kind = "unreadable"
)

// Difference is one thing that is not the same.
type Difference struct {
	ID string `json:"id"`
	// Revs are the leaves that it is about; none for WinnerDeleted.
	Revs []string `json:"revs,omitempty"`
	Kind Kind     `json:"kind"`
	// Side is the one that lacks something, where one does.
	Side Side `json:"side,omitempty"`
	// Where is the place in the body (a JSON Pointer), or the name of the attachment.
	Where string `json:"where,omitempty"`
	// A and B are what each side has, shortened; empty for nothing. Numbers are as written.
	A string `json:"a,omitempty"`
	B string `json:"b,omitempty"`
}

// SideReport is what was found of one database.
type SideReport struct {
	// Database is its URL without secrets.
	Database  string `json:"database"`
	Documents int64  `json:"documents"`
	Leaves    int64  `json:"leaves"`
	// MissingDocuments and MissingLeaves are what the other side has and this one has not.
	// The leaves include those of the documents.
	MissingDocuments int64 `json:"missing_documents"`
	MissingLeaves    int64 `json:"missing_leaves"`
	// UnreadableLeaves are listed in the feed and cannot be opened.
	UnreadableLeaves int64 `json:"unreadable_leaves"`
	// Of the target of a filter: what it has that the filter does not choose at the source now.
	// [LeftFilter], [Unchosen], [Foreign].
	LeftDocuments  int64 `json:"left_documents,omitempty"`
	LeftLeaves     int64 `json:"left_leaves,omitempty"`
	UnchosenLeaves int64 `json:"unchosen_leaves,omitempty"`
	ForeignLeaves  int64 `json:"foreign_leaves,omitempty"`
	// SeqBefore and SeqAfter are the update seqs around the comparison.
	SeqBefore couch.Seq `json:"update_seq_before"`
	SeqAfter  couch.Seq `json:"update_seq_after"`
}

// Counts are numbers of documents and leaves that both databases have.
type Counts struct {
	// MatchingDocuments are the same in all that was compared, MatchingLeaves likewise.
	MatchingDocuments int64 `json:"matching_documents"`
	MatchingLeaves    int64 `json:"matching_leaves"`
	// WinnerDeletedDiffers counts documents.
	WinnerDeletedDiffers int64 `json:"winner_deleted_differs"`
	// These count leaves; one may be in several.
	LeafDeletedDiffers int64 `json:"leaf_deleted_differs"`
	BodyDiffers        int64 `json:"body_differs"`
	HistoryDiffers     int64 `json:"history_differs"`
	AttachmentsDiffer  int64 `json:"attachments_differ"`
}

// Report is the outcome of a comparison. It is made to be JSON.
type Report struct {
	Same bool       `json:"same"`
	A    SideReport `json:"a"`
	B    SideReport `json:"b"`
	Counts
	// Filtered says that A is a source and B a target that is to have what a filter chooses: of A
	// only that was looked at.
	Filtered bool `json:"filtered,omitempty"`
	// Bodies says that the contents of leaves were compared.
	Bodies bool `json:"bodies_compared"`
	// Moved says that a database changed during the comparison: each document was
	// compared as it was at some moment of it.
	Moved bool `json:"moved"`
	// Rechecks is how often the documents that differed were looked at again.
	Rechecks int `json:"rechecks"`
	// Unsettled says that a database moved during the last look at what differs, so
	// that the differences may be on their way.
	Unsettled bool `json:"unsettled"`
	// DifferenceCount counts all differences, and Differences lists the first by id.
	DifferenceCount int64        `json:"difference_count"`
	Differences     []Difference `json:"differences"`
	// Left lists the first by id of what has left the filter.
	Left []Difference `json:"left,omitempty"`
}

// compareDifferences orders by document, then by leaf.
func compareDifferences(x, y Difference) int {
	return cmp.Or(
		strings.Compare(x.ID, y.ID),
		slices.Compare(x.Revs, y.Revs),
		strings.Compare(string(x.Kind), string(y.Kind)),
		strings.Compare(x.Where, y.Where),
		strings.Compare(string(x.Side), string(y.Side)),
	)
}
