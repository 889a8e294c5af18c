package millpond

import (
	"encoding/base64"
	"strconv"

	"millrace/pkg/revtree"
)

// renderer writes documents as JSON, with what the query asked for. The order of
// the members is CouchDB's.
type renderer struct {
	revs             bool // _revisions
	ownRevision      bool // _revisions without the ancestors, as filter functions see it
	revsInfo         bool
	conflicts        bool
	deletedConflicts bool
	localSeq         bool
	attachments      bool          // contents, not stubs
	attsSince        []revtree.Rev // contents only of what is newer than these
	encodingInfo     bool
	follows          bool // contents follow in other parts of a multipart body
}

// hasMeta says whether the document is shown with more than it contains.
func (r *renderer) hasMeta() bool {
	return r.revsInfo || r.conflicts || r.deletedConflicts || r.localSeq
}

// appendDoc appends one revision of a document. winner says whether it was asked
// for as the document's winner: only then are there conflicts and the like.
func (r *renderer) appendDoc(dst []byte, doc *Doc, node *Node, winner bool) ([]byte, error) {
	content, _ := node.Value()
	path := doc.Tree.Path(node)
	dst = r.appendRevision(dst, doc.ID, path, node.Deleted(), content)
	if winner && r.hasMeta() {
		dst = r.appendMeta(dst, doc, node)
	}
	dst, err := r.appendAttachments(dst, path, content.Attachments)
	return append(dst, '}'), err
}

// appendRevision appends a document up to its _revisions, without the closing brace.
func (r *renderer) appendRevision(dst []byte, id string, path revtree.Path, deleted bool, content *Revision) []byte {
	dst = append(dst, `{"_id":`...)
	dst = appendString(dst, id)
	known := len(path.IDs) > 0 // not so of a document that is being validated
	if known {
		dst = append(dst, `,"_rev":`...)
		dst = appendString(dst, path.Rev().String())
	}
	if len(content.Body) > 0 {
		dst = append(dst, ',')
		dst = append(dst, content.Body...)
	}
	if deleted {
		dst = append(dst, `,"_deleted":true`...)
	}
	if known && (r.revs || r.ownRevision) {
		ids := path.IDs
		if r.ownRevision {
			ids = ids[:1]
		}
		dst = append(dst, `,"_revisions":{"start":`...)
		dst = strconv.AppendInt(dst, int64(path.Start), 10)
		dst = append(dst, `,"ids":`...)
		dst = appendStrings(dst, ids)
		dst = append(dst, '}')
	}
	return dst
}

func appendStrings(dst []byte, texts []string) []byte {
	dst = append(dst, '[')
	for i, text := range texts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, text)
	}
	return append(dst, ']')
}

func appendRevs(dst []byte, revs []revtree.Rev) []byte {
	dst = append(dst, '[')
	for i, rev := range revs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, rev.String())
	}
	return append(dst, ']')
}

func (r *renderer) appendMeta(dst []byte, doc *Doc, node *Node) []byte {
	if r.revsInfo {
		dst = appendRevsInfo(dst, doc.Tree, node)
	}
	var live, deleted []revtree.Rev
	for _, leaf := range doc.Tree.Leaves() {
		switch {
		case leaf == node:
		case leaf.Deleted():
			deleted = append(deleted, leaf.Rev())
		default:
			live = append(live, leaf.Rev())
		}
	}
	if r.localSeq {
		dst = append(dst, `,"_local_seq":`...)
		dst = strconv.AppendUint(dst, doc.Seq, 10)
	}
	if r.conflicts && len(live) > 0 {
		dst = append(dst, `,"_conflicts":`...)
		dst = appendRevs(dst, live)
	}
	if r.deletedConflicts && len(deleted) > 0 {
		dst = append(dst, `,"_deleted_conflicts":`...)
		dst = appendRevs(dst, deleted)
	}
	return dst
}

// appendRevsInfo lists a revision and its ancestors with what is left of each.
func appendRevsInfo(dst []byte, tree Tree, node *Node) []byte {
	dst = append(dst, `,"_revs_info":[`...)
	for n := node; n != nil; n = tree.Parent(n) {
		if n != node {
			dst = append(dst, ',')
		}
		status := "available"
		if _, ok := n.Value(); !ok {
			status = "missing"
		} else if n.Deleted() {
			status = "deleted"
		}
		dst = append(dst, `{"rev":`...)
		dst = appendString(dst, n.Rev().String())
		dst = append(dst, `,"status":"`...)
		dst = append(dst, status...)
		dst = append(dst, `"}`...)
	}
	return append(dst, ']')
}

// sent says whether an attachment's content is sent: all of them, or those added
// after the newest revision that the client has. 0 for sinceGeneration sends all.
func (r *renderer) sent(att *Attachment, since int) bool {
	return r.attachments && att.RevPos > since || r.attachments && r.attsSince == nil
}

// since is the generation of the newest ancestor, or of the revision itself, that
// the client has; 0 if none.
func (r *renderer) since(path revtree.Path) int {
	newest := 0
	for _, rev := range r.attsSince {
		i := path.Start - rev.Pos
		if i >= 0 && i < len(path.IDs) && path.IDs[i] == rev.Hash {
			newest = max(newest, rev.Pos)
		}
	}
	return newest
}

// following lists the attachments whose contents appendAttachments did not write
// into the JSON because they follow.
func (r *renderer) following(path revtree.Path, atts []*Attachment) []*Attachment {
	var sent []*Attachment
	since := r.since(path)
	for _, att := range atts {
		if r.sent(att, since) {
			sent = append(sent, att)
		}
	}
	return sent
}

func (r *renderer) appendAttachments(dst []byte, path revtree.Path, atts []*Attachment) ([]byte, error) {
	if len(atts) == 0 {
		return dst, nil
	}
	since := r.since(path)
	dst = append(dst, `,"_attachments":{`...)
	for i, att := range atts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, att.Name)
		dst = append(dst, `:{"content_type":`...)
		dst = appendString(dst, att.ContentType)
		dst = append(dst, `,"revpos":`...)
		dst = strconv.AppendInt(dst, int64(att.RevPos), 10)
		if att.Digest != "" {
			dst = append(dst, `,"digest":"`...)
			dst = append(dst, att.Digest...)
			dst = append(dst, '"')
		}
		var err error
		if dst, err = r.appendContent(dst, att, r.sent(att, since)); err != nil {
			return dst, err
		}
		if r.encodingInfo && att.Encoding != "" {
			dst = append(dst, `,"encoding":"`...)
			dst = append(dst, att.Encoding...)
			dst = append(dst, `","encoded_length":`...)
			dst = strconv.AppendInt(dst, int64(len(att.Data)), 10)
		}
		dst = append(dst, '}')
	}
	return append(dst, '}'), nil
}

// appendContent appends the members that say where the content is.
func (r *renderer) appendContent(dst []byte, att *Attachment, sent bool) ([]byte, error) {
	if sent && !r.follows {
		content, err := att.content()
		if err != nil {
			return dst, err
		}
		dst = append(dst, `,"data":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, content)
		return append(dst, '"'), nil
	}
	dst = append(dst, `,"length":`...)
	dst = strconv.AppendInt(dst, att.Length, 10)
	if sent {
		return append(dst, `,"follows":true`...), nil
	}
	return append(dst, `,"stub":true`...), nil
}
