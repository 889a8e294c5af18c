package millpond

import (
	"bytes"
	"compress/gzip"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"io"

	"millrace/pkg/couchgzip"
)

// compressor packs attachments of compressible types, as CouchDB does.
type compressor struct {
	level int // of gzip; 0: nothing is packed
}

// attachment makes what is to be stored of a content as it came. encoding is what
// the client packed it with; length is that of the content, unpacked.
func (z compressor) attachment(name, contentType, encoding string, data []byte, length int64) *Attachment {
	if encoding == "" && z.level > 0 && couchgzip.Compressible(contentType) {
		data, encoding = z.pack(data), "gzip"
	}
	return &Attachment{
		Name: name, ContentType: contentType, Encoding: encoding, Data: data, Length: length, Digest: digest(data),
	}
}

func (z compressor) pack(data []byte) []byte {
	if z.level == couchgzip.Level {
		return couchgzip.Append(nil, data)
	}
	var buf bytes.Buffer
	w, err := gzip.NewWriterLevel(&buf, z.level)
	if err != nil {
		panic(err) // New checked the level
	}
	_, _ = w.Write(data) // a buffer takes all
	_ = w.Close()
	return bytes.Clone(buf.Bytes())
}

// digest is what CouchDB calls so: of the bytes as stored, or as sent.
func digest(data []byte) string {
	sum := md5.Sum(data)
	return "md5-" + base64.StdEncoding.EncodeToString(sum[:])
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
