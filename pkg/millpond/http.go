package millpond

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

// call is one request on its way through the handlers.
type call struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	parts  []string // of the path, unescaped
	query  url.Values
	user   user

	name    string // of the database, where there is one
	db      Database
	dbAdmin bool // the user is an administrator of the database
}

// handler answers a call, or returns the error to answer with. After it has
// begun to answer it must not return an error.
type handler func(c *call) error

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	parts, err := splitPath(r.URL.EscapedPath())
	s.requests.add(r.Method, parts)
	s.faults.serve(w, r, s.ctx.Done(), func(w http.ResponseWriter) {
		c := &call{server: s, w: w, r: r, parts: parts, query: r.URL.Query()}
		h := w.Header()
		h.Set("Server", "Millpond (CouchDB/"+s.opts.Version+")")
		h.Set("Cache-Control", "must-revalidate")
		if err == nil {
			err = c.serve()
		}
		if err != nil {
			c.fail(err)
		}
	})
}

func (c *call) serve() error {
	if err := c.authenticate(); err != nil {
		return err
	}
	if err := c.authorizeServer(); err != nil {
		return err
	}
	if kindOf(c.parts) != "attachment" { // those have a limit of their own
		if c.r.ContentLength > c.server.opts.MaxRequestSize {
			c.w.Header().Set("Connection", "close") // the body will not be read
			return errTooLarge
		}
		c.r.Body = http.MaxBytesReader(c.w, c.r.Body, c.server.opts.MaxRequestSize)
	}
	h, err := c.route()
	if err != nil {
		return err
	}
	return h(c)
}

// splitPath unescapes the segments of a path. Like CouchDB it takes "+" for a
// space, and ignores empty segments at the ends.
func splitPath(escaped string) ([]string, error) {
	escaped = strings.Trim(escaped, "/")
	if escaped == "" {
		return nil, nil
	}
	parts := strings.Split(escaped, "/")
	for i, part := range parts {
		text, err := url.QueryUnescape(part)
		if err != nil {
			return nil, badRequest("Invalid path")
		}
		parts[i] = text
	}
	return parts, nil
}

// fail answers with an error in CouchDB's shape.
func (c *call) fail(err error) {
	e := asError(err)
	if e.Status >= http.StatusInternalServerError {
		c.server.opts.Logger.Error("request failed", "method", c.r.Method, "path", c.r.URL.Path, "error", err)
	}
	if e.Status == http.StatusMethodNotAllowed {
		allowed := strings.TrimSuffix(strings.TrimPrefix(e.Reason, "Only "), " allowed")
		c.w.Header().Set("Allow", allowed)
	}
	body := append([]byte{'{'}, e.appendMembers(nil)...)
	c.send(e.Status, "application/json", append(body, "}\n"...))
}

// send answers with a whole body.
func (c *call) send(status int, contentType string, body []byte) error {
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", fmt.Sprint(len(body)))
	c.w.WriteHeader(status)
	if c.r.Method != http.MethodHead {
		_, _ = c.w.Write(body) // the client is gone: nobody to tell
	}
	return nil
}

// json answers with JSON text, to which CouchDB's newline is added.
func (c *call) json(status int, body []byte) error {
	return c.send(status, "application/json", append(body, '\n'))
}

// ok answers with {"ok":true}.
func (c *call) ok(status int) error { return c.json(status, []byte(`{"ok":true}`)) }

// body reads the request's body, gunzipped if it is packed.
func (c *call) body() ([]byte, error) {
	var from io.Reader = c.r.Body
	size := c.r.ContentLength
	if encoding := c.r.Header.Get("Content-Encoding"); encoding == "gzip" {
		unpacker, err := gzip.NewReader(c.r.Body)
		if err != nil {
			return nil, badRequest("Invalid gzip body")
		}
		limit := c.server.opts.MaxRequestSize
		from, size = http.MaxBytesReader(c.w, io.NopCloser(unpacker), limit), -1
	}
	var buf bytes.Buffer
	if size > 0 && size < 64<<20 {
		buf.Grow(int(size) + bytes.MinRead)
	}
	if _, err := buf.ReadFrom(from); err != nil {
		return nil, bodyError(err)
	}
	return buf.Bytes(), nil
}

// bodyError is what to answer when a body cannot be read.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return errTooLarge
	}
	return badRequest("Request body could not be read: " + err.Error())
}

// jsonBody is body for the requests that CouchDB takes as JSON only.
func (c *call) jsonBody() ([]byte, error) {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return nil, errContentType
	}
	return c.body()
}

// accepts says whether the Accept header allows a media type. Without a header
// everything is.
func (c *call) accepts(mediaType string) bool {
	header := c.r.Header.Get("Accept")
	if header == "" {
		return true
	}
	major, _, _ := strings.Cut(mediaType, "/")
	for _, item := range strings.Split(header, ",") {
		kind, _, err := mime.ParseMediaType(strings.TrimSpace(item))
		if err != nil {
			continue
		}
		if kind == mediaType || kind == "*/*" || kind == major+"/*" {
			return true
		}
	}
	return false
}

// flag reads a query parameter that is on if it is "true".
func (c *call) flag(name string) bool { return c.query.Get(name) == "true" }
