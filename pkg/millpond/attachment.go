package millpond

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"
)

// newAttachment describes data as stored. length is that of the content, not
// packed.
func newAttachment(name, contentType, encoding string, data []byte, length int64) *Attachment {
	sum := md5.Sum(data)
	return &Attachment{
		Name: name, ContentType: contentType, Encoding: encoding, Data: data, Length: length,
		Digest: "md5-" + base64.StdEncoding.EncodeToString(sum[:]),
	}
}

// content is the attachment's bytes, unpacked.
func (a *Attachment) content() ([]byte, error) {
	if a.Encoding == "" {
		return a.Data, nil
	}
	unpacker, err := gzip.NewReader(bytes.NewReader(a.Data))
	if err != nil {
		return nil, fmt.Errorf("unpack attachment %q: %w", a.Name, err)
	}
	content, err := io.ReadAll(unpacker)
	if err != nil {
		return nil, fmt.Errorf("unpack attachment %q: %w", a.Name, err)
	}
	return content, nil
}
