package verify

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"millrace/pkg/couch"
	"millrace/pkg/rawdoc"
)

// leaf is what is kept of a leaf until the other database's is there: not its body.
type leaf struct {
	deleted     bool
	body        [sha256.Size]byte // of the body's canonical form
	history     []byte            // `_revisions` as it came
	attachments []rawdoc.Attachment
	refusal     string // why there is none of all this
}

// leafReader makes leaves of documents. The zero value is ready.
type leafReader struct {
	forms canonicalizer
	form  []byte
}

func (r *leafReader) read(item couch.BulkGetItem) (leaf, error) {
	form, err := r.forms.appendBody(r.form[:0], item.Doc)
	if err != nil {
		return leaf{}, errBody(err)
	}
	r.form = form
	attachments := item.Meta.Attachments
	slices.SortFunc(attachments, func(a, b rawdoc.Attachment) int { return strings.Compare(a.Name, b.Name) })
	return leaf{
		deleted:     item.Meta.Deleted,
		body:        sha256.Sum256(form),
		history:     bytes.Clone(item.Meta.RawRevisions), // the document need not stay for it
		attachments: attachments,
	}, nil
}

// sum is the same for leaves that hold the same, and have the same history.
func (l leaf) sum() (s sum) {
	h := sha256.New()
	fmt.Fprintf(h, "%v %x %d %s", l.deleted, l.body, len(l.history), l.history)
	for _, a := range l.attachments {
		fmt.Fprintf(h, " %q %s", a.Name, describe(a))
	}
	copy(s[:], h.Sum(nil))
	return s
}

// compareLeaves returns how two leaves of one id and revision differ, without these.
func compareLeaves(a, b leaf) ([]Difference, error) {
	if a.refusal != "" || b.refusal != "" {
		return compareRefusals(a, b), nil
	}
	var found []Difference
	if a.deleted != b.deleted {
		found = append(found, Difference{Kind: LeafDeleted, A: fmt.Sprint(a.deleted), B: fmt.Sprint(b.deleted)})
	}
	if a.body != b.body {
		found = append(found, Difference{Kind: Body})
	}
	d, err := compareHistories(a.history, b.history)
	if err != nil {
		return nil, err
	}
	if d != nil {
		found = append(found, *d)
	}
	return append(found, compareAttachments(a.attachments, b.attachments)...), nil
}

// compareRefusals reports a leaf that a feed lists and that cannot be opened.
func compareRefusals(a, b leaf) []Difference {
	const readable = "readable"
	d := Difference{Kind: Unreadable, A: cmp.Or(a.refusal, readable), B: cmp.Or(b.refusal, readable)}
	switch {
	case b.refusal == "":
		d.Side = A
	case a.refusal == "":
		d.Side = B
	}
	return []Difference{d}
}

// compareHistories compares two `_revisions`. A database with a lower _revs_limit
// forgets the older end, so one may be the other's beginning.
func compareHistories(rawA, rawB []byte) (*Difference, error) {
	if bytes.Equal(rawA, rawB) {
		return nil, nil
	}
	a, err := parseHistory(rawA)
	if err != nil {
		return nil, err
	}
	b, err := parseHistory(rawB)
	if err != nil {
		return nil, err
	}
	common := min(len(a.IDs), len(b.IDs))
	for i := range common {
		if a.Start != b.Start || a.IDs[i] != b.IDs[i] {
			return &Difference{Kind: History, A: revision(a, i), B: revision(b, i)}, nil
		}
	}
	return nil, nil
}

func parseHistory(raw []byte) (rawdoc.Revisions, error) {
	if raw == nil {
		return rawdoc.Revisions{}, nil // a server that does not tell
	}
	revisions, err := rawdoc.ParseRevisions(raw)
	if err != nil {
		return revisions, fmt.Errorf("read _revisions: %w", err)
	}
	return revisions, nil
}

func revision(r rawdoc.Revisions, i int) string {
	return fmt.Sprintf("%d-%s", r.Start-int64(i), r.IDs[i])
}

// compareAttachments compares what is said of attachments. Both lists are sorted.
func compareAttachments(a, b []rawdoc.Attachment) []Difference {
	var found []Difference
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0].Name < b[0].Name:
			found = append(found, Difference{Kind: Attachment, Where: a[0].Name, A: present})
			a = a[1:]
		case len(a) == 0 || b[0].Name < a[0].Name:
			found = append(found, Difference{Kind: Attachment, Where: b[0].Name, B: present})
			b = b[1:]
		default:
			if saysA, saysB := describe(a[0]), describe(b[0]); saysA != saysB {
				found = append(found, Difference{Kind: Attachment, Where: a[0].Name, A: saysA, B: saysB})
			}
			a, b = a[1:], b[1:]
		}
	}
	return found
}

// present stands for an attachment that the other leaf does not have.
const present = "present"

// describe lists all that must be the same of an attachment. A digest is that of
// the stored bytes, so the encoding belongs to it.
func describe(a rawdoc.Attachment) string {
	text := fmt.Sprintf("%q, %d bytes, %s, revpos %d", a.ContentType, a.Length, a.Digest, a.RevPos)
	if a.Encoding != "" {
		text += fmt.Sprintf(", stored as %s in %d bytes", a.Encoding, a.EncodedLength)
	}
	return text
}
