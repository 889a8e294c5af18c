package millpond

import (
	"fmt"
	"strings"

	"millrace/pkg/revtree"
)

// related is one revision as multipart/related: the document, then the contents
// of its attachments in the order in which the document lists them, as stored.
type related struct {
	boundary string
	json     []byte
	atts     []*Attachment
}

func newRelated(boundary string, doc *Doc, node *Node, winner bool, r renderer) (related, error) {
	r.attachments, r.follows, r.encodingInfo = true, true, true
	text, err := r.appendDoc(nil, doc, node, winner)
	content, _ := node.Value()
	return related{
		boundary: boundary, json: text,
		atts: r.following(doc.Tree.Path(node), content.Attachments),
	}, err
}

// contentType is the part's: plain JSON if nothing follows the document.
func (p *related) contentType() string {
	if len(p.atts) == 0 {
		return "application/json"
	}
	return `multipart/related; boundary="` + p.boundary + `"`
}

// size is how many bytes appendTo appends.
func (p *related) size() int {
	n := len(p.appendHead(nil)) + len(p.tail())
	for _, att := range p.atts {
		n += len(p.attHead(att)) + len(att.Data)
	}
	return n
}

func (p *related) appendHead(dst []byte) []byte {
	dst = append(dst, "--"+p.boundary+"\r\nContent-Type: application/json\r\n\r\n"...)
	return append(dst, p.json...)
}

func (p *related) attHead(att *Attachment) string {
	head := fmt.Sprintf("\r\n--%s\r\nContent-Disposition: attachment; filename=\"%s\"\r\nContent-Type: %s\r\nContent-Length: %d",
		p.boundary, quoteName.Replace(att.Name), att.ContentType, len(att.Data))
	if att.Encoding != "" {
		head += "\r\nContent-Encoding: " + att.Encoding
	}
	return head + "\r\n\r\n"
}

// quoteName escapes an attachment's name for a quoted header parameter.
var quoteName = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "%0D", "\n", "%0A")

func (p *related) tail() string { return "\r\n--" + p.boundary + "--" }

// write appends the body: plain JSON if nothing follows.
func (p *related) write(out *stream) {
	if len(p.atts) == 0 {
		out.buf = append(out.buf, p.json...)
		return
	}
	out.buf = p.appendHead(out.buf)
	for _, att := range p.atts {
		out.buf = append(out.buf, p.attHead(att)...)
		out.append(att.Data)
	}
	out.buf = append(out.buf, p.tail()...)
}

// sendRelated answers with one revision and its attachments.
func (c *call) sendRelated(doc *Doc, node *Node, winner bool, r renderer) error {
	p, err := newRelated(randomHex(16), doc, node, winner, r)
	if err != nil {
		return err
	}
	if len(p.atts) > 0 {
		c.w.Header().Set("Content-Length", fmt.Sprint(p.size()))
	}
	out := c.stream(p.contentType())
	p.write(out)
	out.flush()
	return nil
}

// sendMixed answers with several revisions as multipart/mixed, as GET
// /db/doc?open_revs= does.
func (c *call) sendMixed(doc *Doc, found []opened, r renderer) error {
	outer, inner := randomHex(16), randomHex(16)
	out := c.stream(`multipart/mixed; boundary="` + outer + `"`)
	out.buf = append(out.buf, "--"+outer...)
	for _, o := range found {
		if o.node == nil {
			out.buf = append(out.buf, "\r\nContent-Type: application/json; error=\"true\"\r\n\r\n"...)
			out.buf = appendMissing(out.buf, o.rev)
		} else {
			p, err := newRelated(inner, doc, o.node, false, r)
			if err != nil {
				return out.abort(err)
			}
			out.buf = append(out.buf, "\r\nContent-Type: "+p.contentType()+"\r\n\r\n"...)
			p.write(out)
		}
		out.buf = append(out.buf, "\r\n--"+outer...)
		out.flushIfFull()
	}
	out.buf = append(out.buf, "--"...)
	out.flush()
	return nil
}

// sendBulkMultipart answers a _bulk_get with multipart/mixed. Its boundaries and
// headers differ from sendMixed's, as CouchDB's do.
func (c *call) sendBulkMultipart(asked []wanted, r renderer) error {
	kind := "multipart/mixed"
	if !c.accepts(kind) {
		kind = "multipart/related"
	}
	outer, inner := "--"+randomHex(16), "--"+randomHex(16)
	out := c.stream(kind + `; boundary="` + outer + `"`)
	for i := range asked {
		if err := c.appendParts(out, &asked[i], r, outer, inner); err != nil {
			return out.abort(err)
		}
		out.flushIfFull()
	}
	if len(asked) > 0 {
		out.buf = append(out.buf, "\r\n--"+outer+"--\r\n"...)
	}
	out.flush()
	return nil
}

// appendParts appends the parts of one element.
func (c *call) appendParts(out *stream, w *wanted, r renderer, outer, inner string) error {
	if w.refused != nil {
		appendErrorPart(out, outer, w.refused)
		return nil
	}
	doc, found, err := c.open(w)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		appendErrorPart(out, outer, w.missingObject())
	}
	for _, o := range found {
		if o.node == nil {
			appendErrorPart(out, outer, w.missingObject())
			continue
		}
		p, err := newRelated(inner, doc, o.node, false, w.rendererFor(r))
		if err != nil {
			return err
		}
		appendPartHead(out, outer, doc.ID, o.rev, &p)
		p.write(out)
	}
	return nil
}

func appendPartHead(out *stream, outer, id string, rev revtree.Rev, p *related) {
	out.buf = append(out.buf, "\r\n--"+outer...)
	if len(p.atts) > 0 {
		out.buf = fmt.Appendf(out.buf, "\r\nX-Doc-Id: %s\r\nX-Rev-Id: %s", quoteName.Replace(id), rev)
	}
	out.buf = append(out.buf, "\r\nContent-Type: "+p.contentType()+"\r\n\r\n"...)
}

func appendErrorPart(out *stream, outer string, object []byte) {
	out.buf = append(out.buf, "\r\n--"+outer+"\r\nContent-Type: application/json; error=\"true\"\r\n\r\n"...)
	out.buf = append(out.buf, object...)
}
