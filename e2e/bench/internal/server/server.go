// Package server is the smallest client of a CouchDB-protocol server that a
// benchmark can do with. It prepares and throws away: requests are bytes made
// beforehand, answers are counted and discarded, so that what is measured is
// the server. It shares nothing with the product's own client on purpose.
package server

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// prefix begins the name of every database that the harness makes, so that
// one left behind by a killed harness is recognised.
const prefix = "millrace_bench"

// cleanupTime bounds what is not given up when the benchmark is interrupted:
// making and deleting databases, and cancelling replications.
const cleanupTime = 30 * time.Second

// Server is one CouchDB-protocol server. It is safe for concurrent use.
type Server struct {
	base   *url.URL // without user information
	user   *url.Userinfo
	client *http.Client
	token  string
	made   atomic.Int64
}

// Open returns the server at raw, an http or https URL, with the user and
// password in it if it needs any, and perhaps a base path. It does no I/O.
func Open(raw string) (*Server, error) {
	base, err := url.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("server URL: %w", err)
	}
	if base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("server URL %s: want http://[user:password@]host[:port][/path]", base.Redacted())
	}
	user := base.User
	base.User = nil
	base.Path = strings.TrimSuffix(base.Path, "/")
	token := make([]byte, 4)
	rand.Read(token) // never fails, says crypto/rand
	return &Server{base: base, user: user, client: &http.Client{Transport: transport()}, token: hex.EncodeToString(token)}, nil
}

// Behind returns the same server at another address, host:port, of a proxy before
// it. The caller closes it, too.
func (s *Server) Behind(address string) (*Server, error) {
	u := s.URL()
	u.Host, u.User = address, s.user
	return Open(u.String())
}

// transport keeps enough idle connections for the harness's concurrency: a
// handshake per request would be measured as the server's.
func transport() *http.Transport {
	return &http.Transport{
		MaxIdleConnsPerHost: 64,
		DisableCompression:  true, // bodies are random enough; time spent on gzip is not the server's work
		ReadBufferSize:      64 << 10,
		WriteBufferSize:     64 << 10,
	}
}

// Close lets go of idle connections.
func (s *Server) Close() {
	s.client.CloseIdleConnections()
}

// URL returns the server's address without user information.
func (s *Server) URL() *url.URL {
	u := *s.base
	return &u
}

// Welcome says what a server is, from its answer to GET /.
type Welcome struct {
	Version string `json:"version"`
	Vendor  struct {
		Name string `json:"name"`
	} `json:"vendor"`
}

// Welcome asks the server what it is.
func (s *Server) Welcome(ctx context.Context) (Welcome, error) {
	var w Welcome
	err := s.call(ctx, http.MethodGet, "/", nil, &w)
	return w, err
}

// Fresh makes an empty database with a name that holds role, which must
// consist of lower-case letters.
//
// The request is not given up when ctx ends: a server goes on with it, and a
// deletion can overtake it. Its answer is awaited and the database removed.
func (s *Server) Fresh(ctx context.Context, role string) (*Database, error) {
	return s.FreshOf(ctx, role, 0)
}

// FreshOf is [Server.Fresh] with so many shards, where the server has any; 0 leaves it to the server.
func (s *Server) FreshOf(ctx context.Context, role string, shards int) (*Database, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	db := &Database{server: s, name: fmt.Sprintf("%s_%s_%d_%s", prefix, s.token, s.made.Add(1), role)}
	if err := db.create(ctx, shards); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, errors.Join(ctx.Err(), db.Drop(ctx))
	}
	return db, nil
}

// StatusError is an answer with a status of 300 or above.
type StatusError struct {
	Method string
	Path   string // without query
	Status int    // the HTTP status
	Body   string // the first bytes of the answer
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: status %d: %s", e.Method, e.Path, e.Status, strings.TrimSpace(e.Body))
}

// jsonType is the media type of nearly everything that is sent.
const jsonType = "application/json"

// send makes a request below the base URL, with a body of the given type unless
// that is nil, and returns the answer with its body open, or a [*StatusError].
func (s *Server) send(ctx context.Context, method, target, contentType string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base.String()+target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if s.user != nil {
		password, _ := s.user.Password()
		req.SetBasicAuth(s.user.Username(), password)
	}
	req.Header.Set("Accept", jsonType)
	if body != nil {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	start, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	return nil, &StatusError{Method: method, Path: req.URL.Path, Status: resp.StatusCode, Body: string(start)}
}

// call makes a request and decodes the answer into out, unless that is nil.
func (s *Server) call(ctx context.Context, method, target string, body []byte, out any) error {
	return s.callTyped(ctx, method, target, jsonType, body, out)
}

// callTyped is call with a body that is not JSON.
func (s *Server) callTyped(ctx context.Context, method, target, contentType string, body []byte, out any) error {
	resp, err := s.send(ctx, method, target, contentType, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		return err
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: %w", method, resp.Request.URL.Path, err)
	}
	return nil
}

// discard makes a request and returns how many bytes the answer had.
func (s *Server) discard(ctx context.Context, method, target string, body []byte) (int64, error) {
	resp, err := s.send(ctx, method, target, jsonType, body)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return io.Copy(io.Discard, resp.Body)
}
