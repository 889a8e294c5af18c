package corpus

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"testing"
)

// attached is an attachment as it stands in a document.
type attached struct {
	ContentType string `json:"content_type"`
	Revpos      int    `json:"revpos"`
	Data        []byte `json:"data"`
	Follows     bool   `json:"follows"`
	Length      int    `json:"length"`
}

func TestEveryDocumentHasItsOwnAttachment(t *testing.T) {
	const size = 5000
	for name, c := range map[string]struct {
		file   File
		atMost float64 // that it compresses to
		least  float64
	}{"binary": {Binary(), 1.1, 0.99}, "text": {Text(), 0.5, 0.1}} {
		corpus := WithAttachments(1, 25, size, 10, c.file)
		seen := map[string]bool{}
		for _, b := range corpus.Batches {
			for _, doc := range written(t, b) {
				var files map[string]attached
				if err := json.Unmarshal(doc["_attachments"], &files); err != nil {
					t.Fatal(err)
				}
				file := files[FileName]
				if len(file.Data) != size || file.ContentType != c.file.ContentType || file.Revpos != 1 {
					t.Errorf("%s: %d bytes of %s", name, len(file.Data), file.ContentType)
				}
				if share := packed(t, file.Data); share > c.atMost || share < c.least {
					t.Errorf("%s compresses to %.2f", name, share)
				}
				seen[string(file.Data)] = true
			}
		}
		if len(seen) != 25 {
			t.Errorf("%s: %d contents in 25 documents", name, len(seen))
		}
	}
}

func TestLargeAttachmentFollowsItsDocument(t *testing.T) {
	large, err := NewLarge(1, 100_003, Binary())
	if err != nil {
		t.Fatal(err)
	}
	_, params, err := mime.ParseMediaType(large.ContentType)
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(bytes.NewReader(large.Write), params["boundary"])
	first, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		ID    string              `json:"_id"`
		Files map[string]attached `json:"_attachments"`
	}
	if err := json.NewDecoder(first).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	if file := doc.Files[FileName]; doc.ID != large.ID || !file.Follows || file.Length != 100_003 {
		t.Errorf("the document is %+v", doc)
	}
	second, err := parts.NextPart()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(second)
	if err != nil || len(content) != 100_003 || packed(t, content) < 0.99 {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Errorf("then came %v", err)
	}
}

// packed is the share of its size that content compresses to.
func packed(t *testing.T, content []byte) float64 {
	t.Helper()
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return float64(packed.Len()) / float64(len(content))
}
