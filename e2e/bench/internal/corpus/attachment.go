package corpus

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"mime/multipart"
	"net/textproto"
)

// FileName is the name of every attachment.
const FileName = "file"

// File is a kind of content that an attachment can have.
type File struct {
	ContentType string
	content     func(to []byte, random *rand.Rand, n int) []byte
}

// Binary is like a photo: it does not compress, and a server does not try.
func Binary() File {
	return File{ContentType: "application/octet-stream", content: noise}
}

// Text is prose, which CouchDB stores compressed, and to less than half its size.
func Text() File {
	return File{ContentType: "text/plain", content: prose}
}

// WithAttachments makes docs documents of [MinSize] bytes, each with an
// attachment of size bytes, in batches of perBatch. Both requests have the
// content in Base64.
func WithAttachments(seed uint64, docs, size, perBatch int, file File) *Corpus {
	return build(seed, docs, perBatch, func(random *rand.Rand, id string) []byte {
		fields := Fields(random, MinSize-len(`{"_id":"",}`)-len(id))
		content := file.content(make([]byte, 0, size), random, size)
		fields = fmt.Appendf(fields, `,"_attachments":{%q:{"content_type":%q,"revpos":1,"data":"`, FileName, file.ContentType)
		return append(base64.StdEncoding.AppendEncode(fields, content), `"}}`...)
	})
}

// Large is one document with one attachment that is large.
type Large struct {
	ID          string
	Size        int    // bytes of the attachment
	Write       []byte // a request that puts the revision with its history, multipart/related
	ContentType string // of that request
}

// NewLarge makes a document with an attachment of size bytes, of a kind.
func NewLarge(seed uint64, size int, file File) (*Large, error) {
	random := rand.New(rand.NewPCG(seed, 0x6c61726765))
	content := file.content(make([]byte, 0, size), random, size)
	hash := md5.Sum(content)
	rev := hex.EncodeToString(hash[:])
	doc, err := json.Marshal(map[string]any{
		"_id": "large", "_rev": "1-" + rev, "_revisions": map[string]any{"start": 1, "ids": []string{rev}},
		"_attachments": map[string]any{FileName: map[string]any{
			"content_type": file.ContentType, "revpos": 1, "follows": true, "length": size,
		}},
	})
	if err != nil {
		return nil, err
	}
	buf := bytes.NewBuffer(make([]byte, 0, size+len(doc)+1000))
	form := multipart.NewWriter(buf)
	for _, part := range []struct {
		contentType string
		content     []byte
	}{{"application/json", doc}, {file.ContentType, content}} {
		w, err := form.CreatePart(textproto.MIMEHeader{"Content-Type": {part.contentType}})
		if err != nil {
			return nil, err
		}
		if _, err := w.Write(part.content); err != nil {
			return nil, err
		}
	}
	if err := form.Close(); err != nil {
		return nil, err
	}
	return &Large{
		ID: "large", Size: size, Write: buf.Bytes(),
		ContentType: fmt.Sprintf("multipart/related; boundary=%q", form.Boundary()),
	}, nil
}

// noise appends n bytes that do not compress.
func noise(to []byte, random *rand.Rand, n int) []byte {
	for ; n >= 8; n -= 8 {
		v := random.Uint64()
		to = append(to, byte(v), byte(v>>8), byte(v>>16), byte(v>>24), byte(v>>32), byte(v>>40), byte(v>>48), byte(v>>56))
	}
	for range n {
		to = append(to, byte(random.Uint32()))
	}
	return to
}
