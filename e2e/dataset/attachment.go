package dataset

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"strings"

	"millrace/e2e/peer"
)

// Sizes of attachments, in bytes.
const (
	bigAttachment   = 1 << 20
	textAttachment  = 10_000
	smallAttachment = 100
)

// manyAttachments is how many the document with many has.
const manyAttachments = 30

// attachmentNames are awkward as awkwardIDs are, and one after the other in one
// document.
var attachmentNames = []string{
	"a/b", "a/b/c.txt", "a b+c%d?e#f&g=h", `"q"`, "'s'", "caf\u00e9", "cafe\u0301", "\U0001f600",
	"\u65e5\u672c\u8a9e.txt", "semi;colon", "new\nline", ".", "..", "%2F", "0", "constructor",
	"end\r\n\r\nof headers", "\r\n\r\n", `back\slash`, "tab\t", "nul\x00", " ", "", " leading", "trailing ", "a//b", "/a", "a/",
	"%22", "&#34;", `a"; filename="b`, "\ufeffbom", "--",
}

// contentTypes are what clients send, tidy or not. Text types are compressed by
// CouchDB, the others are not.
var contentTypes = []string{
	"text/plain", "text/plain; charset=utf-8", "text/html;charset=ISO-8859-1", "application/json", "application/xml",
	"application/octet-stream", "image/png", "IMAGE/PNG", "application/x-custom; a=\"b c\"", "x",
	"text/caf\u00e9; name=\"\u65e5\u672c\"", `text/plain; name="a\"b"`, "text/plain\r\n\r\nContent-Length: 1", " text/plain", "text/plain ", "a b", "",
}

// inlineAttachments are documents whose attachments come with them.
func inlineAttachments(g generator, can peer.Capabilities) []document {
	one := func(id string, f file) document {
		return document{id: id, start: 1, history: g.hashes(1), files: []file{f}}
	}
	docs := []document{
		one("att-empty", file{name: "empty", contentType: "application/octet-stream"}),
		one("att-empty-text", file{name: "empty", contentType: "text/plain"}),
		one("att-big", file{name: "big", contentType: "application/octet-stream", content: g.bytes(bigAttachment)}),
		one("att-text", file{name: "text", contentType: "text/plain", content: g.text(textAttachment)}),
		one("att-tiny-text", file{name: "text", contentType: "text/plain", content: []byte("x")}),
		one("att-same-1", file{name: "same", contentType: "image/png", content: []byte("the same bytes")}),
		one("att-same-2", file{name: "other", contentType: "image/png", content: []byte("the same bytes")}),
		one("att-like-multipart", file{name: "m", contentType: "image/png", content: []byte("\r\n--boundary\r\n\r\n--boundary--")}),
		{id: "att-deleted", start: 2, history: g.hashes(2), deleted: true},
		{id: "att-older-revpos", start: 5, history: g.hashes(5), files: []file{
			{name: "old", contentType: "image/png", content: g.bytes(smallAttachment), revpos: 2},
			{name: "new", contentType: "image/png", content: g.bytes(smallAttachment), revpos: 5},
		}},
	}
	if can.TombstoneAttachments {
		docs = append(docs, document{id: "att-on-tombstone", start: 2, history: g.hashes(2), deleted: true, files: []file{
			{name: "left", contentType: "text/plain", content: g.text(smallAttachment)},
		}})
	}
	return append(docs, append(severalAttachments(g), conflictingAttachments(g)...)...)
}

// severalAttachments are documents with more than one.
func severalAttachments(g generator) []document {
	many := document{id: "att-many", start: 1, history: g.hashes(1)}
	for i := range manyAttachments {
		many.files = append(many.files, file{
			name: fmt.Sprintf("file-%02d", i), contentType: "image/png", content: g.bytes(smallAttachment),
		})
	}
	named := document{id: "att-names", start: 1, history: g.hashes(1)}
	texts := document{id: "att-names-of-texts", start: 1, history: g.hashes(1)}
	for _, name := range attachmentNames {
		named.files = append(named.files, file{name: name, contentType: "image/png", content: []byte(name)})
		// Servers that compress texts hand them out otherwise than the others.
		texts.files = append(texts.files, file{name: name, contentType: "text/plain", content: []byte(strings.Repeat(name, 9))})
	}
	typed := document{id: "att-types", start: 1, history: g.hashes(1)}
	for i, contentType := range contentTypes {
		typed.files = append(typed.files, file{
			name: fmt.Sprintf("type-%d", i), contentType: contentType, content: g.text(textAttachment),
		})
	}
	return []document{many, named, texts, typed}
}

// conflictingAttachments have the same name and different bytes on two branches,
// and one that only one branch has.
func conflictingAttachments(g generator) []document {
	docs := conflict(g, "att-conflict", 2, 0)
	for i := range docs {
		docs[i].files = []file{{name: "same-name", contentType: "image/png", content: g.bytes(smallAttachment)}}
	}
	docs[1].files = append(docs[1].files, file{name: "only-here", contentType: "text/plain", content: g.text(textAttachment)})
	return docs
}

// editedAttachments writes documents whose attachments come by PUT, some gzipped
// by the client, and change from revision to revision.
func editedAttachments(ctx context.Context, w *writer, g generator, can peer.Capabilities) error {
	if err := changedAttachments(ctx, w, g); err != nil {
		return err
	}
	if !can.EncodedAttachments {
		return nil
	}
	for _, contentType := range []string{"text/plain", "image/png", "application/gzip"} {
		zipped := file{name: "zipped", contentType: contentType, content: gzipped(g.text(textAttachment))}
		if _, err := w.attach(ctx, "att-gzipped "+contentType, "", zipped, "gzip"); err != nil {
			return err
		}
	}
	return nil
}

// changedAttachments makes a document whose attachments are added, replaced,
// removed and left alone, so that their revpos differ.
func changedAttachments(ctx context.Context, w *writer, g generator) error {
	const id = "att-changed"
	rev := ""
	for i, name := range []string{"stays", "replaced", "removed", "replaced", "late/text"} {
		f := file{name: name, contentType: "image/png", content: g.bytes(smallAttachment + i)}
		if name == "late/text" {
			f.contentType, f.content = "text/plain", g.text(textAttachment)
		}
		var err error
		if rev, err = w.attach(ctx, id, rev, f, ""); err != nil {
			return err
		}
	}
	if _, err := w.detach(ctx, id, rev, "removed"); err != nil {
		return err
	}
	// An edit of the body that keeps the attachments, by the stubs as they were read.
	return w.amend(ctx, id, "edited", "true")
}

// gzipped is the content as a client compresses it. The level is not the one that
// servers use, so that recompressed bytes would differ.
func gzipped(content []byte) []byte {
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, gzip.BestSpeed)
	if err != nil {
		panic(err) // the level is a valid one
	}
	_, _ = w.Write(content) // a buffer takes everything
	_ = w.Close()
	return buf.Bytes()
}
