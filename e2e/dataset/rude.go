package dataset

import (
	"context"
	"fmt"

	"millrace/e2e/peer"
)

// largeAttachment is more than what travels inside of documents, in bytes.
const largeAttachment = bigAttachment + 1000

// vastAttachment is more than passes through BODIES, in bytes.
const vastAttachment = 5 * bigAttachment

// crowd is how many attachments the documents with very many have.
const crowd = 500

// rudeNames are names of attachments that cannot stand in a header as they are, or look
// like something else there, and rudeTypes the same of types.
var (
	rudeNames = []string{
		"tidy", "new\nline", "end\r\n\r\nof headers", "\r\n\r\n\r\n\r\n", "x\"\r\nContent-Length: 3\r\n\r\nabc",
		`back\slash`, `c:\dir\`, `say "x"`, `a"; filename="b`, "%22", "&#92;", "", " ", "nul\x00", "\u65e5\u672c\u8a9e",
	}
	rudeTypes = []string{"image/png", "image/png\r\n\r\nContent-Length: 1", " image/png ", "image/caf\u00e9; a=\"\u65e5\""}
)

// Rude is documents whose attachments are large, many, or different on each leaf, with
// names and types that do not keep to what headers can hold. (CouchDB's own replicator
// ends at some of them.) Its revisions are the same on every server, but for those with
// attachments that the client has compressed.
func Rude(ctx context.Context, db string, can peer.Capabilities, seed uint64) error {
	w, err := newWriter(db)
	if err != nil {
		return err
	}
	defer w.close()
	g := newGenerator(seed)
	for _, docs := range [][]document{
		rudeAttachments(g), crowds(g), attachedLeaves(g, can), attachedDesigns(g),
	} {
		if err := w.replicate(ctx, docs); err != nil {
			return err
		}
	}
	if !can.EncodedAttachments {
		return nil
	}
	for i, contentType := range []string{"text/plain; charset=utf-8", "image/png", "application/gzip", "image/svg+xml"} {
		content := gzipped(append(g.bytes(largeAttachment), g.text(textAttachment)...))
		if i == 3 {
			content = gzipped(g.bytes(vastAttachment))
		}
		zipped := file{name: "zipped by the client/" + contentType, contentType: contentType, content: content}
		if _, err := w.attach(ctx, fmt.Sprintf("rude-gzipped-%d", i), "", zipped, "gzip"); err != nil {
			return err
		}
	}
	return nil
}

// rudeAttachments are large ones, each in a document of its own beside a small one.
func rudeAttachments(g generator) []document {
	var docs []document
	add := func(id, name, contentType string, size int) {
		docs = append(docs, document{id: id, start: 1, history: g.hashes(1), files: []file{
			{name: name, contentType: contentType, content: g.bytes(size)},
			{name: "small", contentType: "text/plain", content: g.text(textAttachment)},
		}})
	}
	for i, name := range rudeNames {
		add(fmt.Sprintf("rude-name-%02d", i), name, "image/png", largeAttachment)
	}
	for i, contentType := range rudeTypes {
		add(fmt.Sprintf("rude-type-%d", i), "large", contentType, largeAttachment)
	}
	for _, size := range []int{bigAttachment - 1, bigAttachment, bigAttachment + 1, 3*bigAttachment + 1} {
		add(fmt.Sprintf("rude-size-%d", size), "large", "application/octet-stream", size)
	}
	add("rude-vast", "vast", "image/png", vastAttachment)
	add("rude-vast-name", rudeNames[1], "image/png", vastAttachment)
	add("rude-vast-type", "vast", rudeTypes[1], vastAttachment)
	docs = append(docs, document{id: "rude-vast-text", start: 1, history: g.hashes(1), files: []file{
		{name: "packed by the server", contentType: "text/plain", content: g.text(2 * vastAttachment)},
		{name: "", contentType: "image/png", content: g.bytes(vastAttachment)},
	}})
	large := document{
		id: "rude-large-document", start: 1, history: g.hashes(1), fields: fmt.Sprintf(`"text":"%s"`, g.text(3*bigAttachment)),
		files: []file{{name: "large", contentType: "image/png", content: g.bytes(largeAttachment)}},
	}
	return append(docs, large)
}

// crowds have very many attachments: of texts, of other content, and of both.
func crowds(g generator) []document {
	var docs []document
	for _, types := range [][]string{{"text/plain"}, {"image/png"}, {"text/plain", "image/png"}} {
		d := document{id: fmt.Sprintf("rude-crowd-%d", len(docs)), start: 1, history: g.hashes(1)}
		for i := range crowd {
			d.files = append(d.files, file{
				name: fmt.Sprintf("file-%03d", i), contentType: types[i%len(types)], content: g.text(smallAttachment),
			})
		}
		docs = append(docs, d)
	}
	return docs
}

// attachedLeaves is a document with many leaves, some deleted: one attachment is that of
// the root, one is another on each leaf, and one some leaves have alone.
func attachedLeaves(g generator, can peer.Capabilities) []document {
	const n, deleted = 12, 4
	docs := conflict(g, "rude-leaves", n, deleted)
	root := file{name: "of the root", contentType: "text/plain", content: g.text(textAttachment), revpos: 1}
	for i := range docs {
		if docs[i].deleted && !can.TombstoneAttachments {
			continue
		}
		docs[i].files = []file{root, {name: "of the leaf", contentType: "image/png", content: g.bytes(smallAttachment)}}
		if i%3 == 0 {
			docs[i].files = append(docs[i].files, file{name: fmt.Sprint("only ", i), contentType: "text/plain", content: g.text(textAttachment)})
		}
	}
	return docs
}

// attachedDesigns are design documents with the files of an application.
func attachedDesigns(g generator) []document {
	var docs []document
	for _, id := range []string{"_design/app", "_design/app/of two parts", "_design/caf\u00e9 + 100%"} {
		docs = append(docs, document{id: id, start: 2, history: g.hashes(2), fields: `"rewrites":[]`, files: []file{
			{name: "index.html", contentType: "text/html; charset=utf-8", content: g.text(textAttachment), revpos: 1},
			{name: "img/a b+c.png", contentType: "image/png", content: g.bytes(smallAttachment)},
			{name: "lib/all.js", contentType: "application/javascript", content: g.text(largeAttachment)},
		}})
	}
	return docs
}
