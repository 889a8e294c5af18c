package dataset

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// How much one _bulk_docs request takes at most.
const (
	docsPerRequest  = 500
	bytesPerRequest = 1 << 20
)

// writer writes to one database.
type writer struct {
	db        string // without user
	user      *url.Userinfo
	transport *http.Transport
}

// newWriter prepares to write; nothing is sent.
func newWriter(db string) (*writer, error) {
	u, err := url.Parse(db)
	if err != nil {
		return nil, errors.New("write data: the database has no valid URL") // which may have a password
	}
	w := &writer{user: u.User, transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}}
	u.User = nil
	w.db = strings.TrimRight(u.String(), "/")
	return w, nil
}

func (w *writer) close() { w.transport.CloseIdleConnections() }

// RefusedError is what a server said to a write.
type RefusedError struct {
	// What was written: method and path, or the id of a document.
	What string
	// Status is the HTTP status, 0 for one document of many.
	Status int
	// Answer is the server's own words.
	Answer string
}

// Error implements error.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s: refused: %d %s", e.What, e.Status, e.Answer)
}

// buffers keeps request bodies for the next request: bulk loading is half garbage
// collection otherwise.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *bytes.Buffer {
	if buf, ok := b.pool.Get().(*bytes.Buffer); ok {
		buf.Reset()
		return buf
	}
	return new(bytes.Buffer)
}

func (b *buffers) put(buf *bytes.Buffer) { b.pool.Put(buf) }

// replicate stores revisions as they are (new_edits=false), in requests of a
// bounded size.
func (w *writer) replicate(ctx context.Context, docs []document) error {
	var buf bytes.Buffer
	count := 0
	for _, d := range docs {
		text := d.json()
		if count == docsPerRequest || count > 0 && buf.Len()+len(text) > bytesPerRequest {
			if err := w.finishBulk(ctx, &buf); err != nil {
				return err
			}
			count = 0
		}
		openBulk(&buf, count)
		buf.WriteString(text)
		count++
	}
	if count == 0 {
		return nil
	}
	return w.finishBulk(ctx, &buf)
}

// openBulk writes what stands before the document with this index in its request.
func openBulk(buf *bytes.Buffer, index int) {
	if index == 0 {
		buf.WriteString(`{"new_edits":false,"docs":[`)
		return
	}
	buf.WriteByte(',')
}

// finishBulk sends the request and empties the buffer.
func (w *writer) finishBulk(ctx context.Context, buf *bytes.Buffer) error {
	buf.WriteString("]}")
	defer buf.Reset()
	answer, err := w.send(ctx, http.MethodPost, "/_bulk_docs", "application/json", "", buf.Bytes())
	if err != nil {
		return err
	}
	var rows []struct {
		ID     string `json:"id"`
		Error  string `json:"error"`
		Reason string `json:"reason"`
	}
	if err := json.Unmarshal(answer, &rows); err != nil {
		return fmt.Errorf("read the answer of _bulk_docs: %w", err)
	}
	for _, row := range rows {
		if row.Error != "" {
			return &RefusedError{What: "document " + row.ID, Answer: row.Error + ": " + row.Reason}
		}
	}
	return nil
}

// put stores a document by a plain edit and returns its new revision.
func (w *writer) put(ctx context.Context, id, doc string) (string, error) {
	return w.edit(ctx, http.MethodPut, "/"+escapeID(id), "application/json", "", []byte(doc))
}

// amend reads a document and puts it back with one member more, as clients do.
func (w *writer) amend(ctx context.Context, id, key, value string) error {
	text, err := w.send(ctx, http.MethodGet, "/"+escapeID(id), "", "", nil)
	if err != nil {
		return err
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(text, &doc); err != nil {
		return fmt.Errorf("read document %q: %w", id, err)
	}
	doc[key] = json.RawMessage(value)
	if text, err = json.Marshal(doc); err != nil {
		return fmt.Errorf("write document %q: %w", id, err)
	}
	_, err = w.put(ctx, id, string(text))
	return err
}

// remove deletes a leaf and returns the tombstone's revision.
func (w *writer) remove(ctx context.Context, id, rev string) (string, error) {
	return w.edit(ctx, http.MethodDelete, "/"+escapeID(id)+"?rev="+rev, "", "", nil)
}

// attach adds or replaces an attachment and returns the new revision. Without a
// rev the document is a new one. The encoding is that of the content: "" or "gzip".
func (w *writer) attach(ctx context.Context, id, rev string, f file, encoding string) (string, error) {
	return w.edit(ctx, http.MethodPut, attachmentPath(id, f.name, rev), f.contentType, encoding, f.content)
}

// detach removes an attachment and returns the new revision.
func (w *writer) detach(ctx context.Context, id, rev, name string) (string, error) {
	return w.edit(ctx, http.MethodDelete, attachmentPath(id, name, rev), "", "", nil)
}

// leaves are the revisions of a document that are not deleted and have no successor.
func (w *writer) leaves(ctx context.Context, id string) ([]string, error) {
	answer, err := w.send(ctx, http.MethodGet, "/"+escapeID(id)+"?open_revs=all", "", "", nil)
	if err != nil {
		return nil, err
	}
	var rows []struct {
		OK struct {
			Rev     string `json:"_rev"`
			Deleted bool   `json:"_deleted"`
		} `json:"ok"`
	}
	if err := json.Unmarshal(answer, &rows); err != nil {
		return nil, fmt.Errorf("read the leaves of %q: %w", id, err)
	}
	var revs []string
	for _, row := range rows {
		if row.OK.Rev != "" && !row.OK.Deleted {
			revs = append(revs, row.OK.Rev)
		}
	}
	return revs, nil
}

// edit makes a request that is answered with a revision.
func (w *writer) edit(ctx context.Context, method, path, contentType, encoding string, body []byte) (string, error) {
	answer, err := w.send(ctx, method, path, contentType, encoding, body)
	if err != nil {
		return "", err
	}
	var stored struct {
		Rev string `json:"rev"`
	}
	if err := json.Unmarshal(answer, &stored); err != nil {
		return "", fmt.Errorf("read the answer of %s %s: %w", method, path, err)
	}
	return stored.Rev, nil
}

// send makes a request and returns the answer's body. A status of 300 or more is a
// RefusedError.
func (w *writer) send(ctx context.Context, method, path, contentType, encoding string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, w.db+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("write data: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	if w.user != nil {
		password, _ := w.user.Password()
		req.SetBasicAuth(w.user.Username(), password)
	}
	res, err := w.transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read the answer of %s %s: %w", method, path, err)
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return nil, &RefusedError{What: method + " " + path, Status: res.StatusCode, Answer: string(answer)}
	}
	return answer, nil
}

// escapeID makes an id one segment of a path; of a design document, two.
func escapeID(id string) string {
	if name, ok := strings.CutPrefix(id, "_design/"); ok {
		return "_design/" + escape(name)
	}
	return escape(id)
}

// escape is stricter than url.PathEscape: CouchDB reads + in a path as a space.
func escape(segment string) string {
	return strings.ReplaceAll(url.QueryEscape(segment), "+", "%20")
}

func attachmentPath(id, name, rev string) string {
	path := "/" + escapeID(id) + "/" + escape(name)
	if rev != "" {
		path += "?rev=" + rev
	}
	return path
}
