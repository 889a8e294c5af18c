package writer

import (
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"millrace/pkg/couch"
	"millrace/pkg/rawdoc"
)

// gzipped is the one encoding in which servers store attachments.
const gzipped = "gzip"

// errNotGzipped says that an attachment is not in the encoding that its source
// stores it in.
var errNotGzipped = errors.New("attachment is not in the encoding that it is said to have")

// decode makes of attachments in a stored encoding plain ones, and tells the
// document so. It is for servers that know of no encoding, and would keep the
// compressed bytes as if they were the content.
//
// An attachment's decoded length is known only when it has been decoded, and has
// to precede its content: each is read twice, as a stream (invariant 5). The error
// wraps [errNotGzipped] if there is nothing that it could be decoded to.
func decode(doc []byte, uploads []couch.Upload) ([]byte, []couch.Upload, error) {
	meta, err := rawdoc.Scan(doc)
	if err != nil {
		return nil, nil, err
	}
	plain := make([]couch.Upload, len(uploads))
	var entries []rawdoc.Attachment
	for i, u := range uploads {
		plain[i] = u
		if u.Encoding != gzipped {
			continue
		}
		open := u.Open
		if u.Length > 0 { // nothing is nothing in any encoding
			open = gunzip(open)
		}
		length, err := measure(open)
		if err != nil {
			return nil, nil, fmt.Errorf("decode attachment %q: %w", u.Name, err)
		}
		plain[i] = couch.Upload{Name: u.Name, ContentType: u.ContentType, Length: length, Open: open}
		// Without a digest: the one that it has is of the encoded bytes.
		entries = append(entries, rawdoc.Attachment{
			Name: u.Name, ContentType: u.ContentType, RevPos: revpos(meta, u.Name), Length: length, Follows: true,
		})
	}
	if len(entries) == 0 {
		return doc, plain, nil
	}
	doc, err = rawdoc.SetAttachments(doc, entries)
	return doc, plain, err
}

func revpos(m rawdoc.Meta, name string) int64 {
	for _, a := range m.Attachments {
		if a.Name == name {
			return a.RevPos
		}
	}
	return 0
}

// measure reads a stream to its end and returns its length.
func measure(open func() (io.ReadCloser, error)) (int64, error) {
	content, err := open()
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, content)
	return n, errors.Join(err, content.Close())
}

// gunzip opens the decoded content.
func gunzip(open func() (io.ReadCloser, error)) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		content, err := open()
		if err != nil {
			return nil, err
		}
		decoder, err := gzip.NewReader(content)
		if err != nil {
			return nil, errors.Join(blame(err), content.Close())
		}
		return &gunzipped{decoder, content}, nil
	}
}

// gunzipped is decoded content.
type gunzipped struct {
	decoder *gzip.Reader
	content io.Closer
}

func (g *gunzipped) Read(p []byte) (int, error) {
	n, err := g.decoder.Read(p)
	return n, blame(err)
}

// Close closes what was decoded; the decoder holds nothing.
func (g *gunzipped) Close() error { return g.content.Close() }

// blame tells errors of the bytes from those of reading them.
func blame(err error) error {
	var corrupt flate.CorruptInputError
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &corrupt) {
		return fmt.Errorf("%w: %w", errNotGzipped, err)
	}
	return err
}
