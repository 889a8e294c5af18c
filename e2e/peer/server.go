// Package peer finds the CouchDB-protocol servers that black-box tests run
// against: a millpond in this process, a PouchDB server from npm, and the real
// servers that MILLRACE_TEST_COUCHDB names. No test should be content with one.
//
// A test package that uses it has
//
//	func TestMain(m *testing.M) { peer.Main(m) }
//
// and its tests call All or Pairs.
package peer

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

// Kind is which program a server is.
type Kind string

// The kinds of servers.
const (
	CouchDB  Kind = "couchdb"
	Millpond Kind = "millpond"
	PouchDB  Kind = "pouchdb"
)

// Server is a running server that speaks CouchDB's replication protocol.
type Server struct {
	// Name tells the servers of a test run apart, and is fit for a subtest's name.
	Name string
	// URL is the server's address with credentials if it needs any, without a
	// trailing slash.
	URL string
	// Kind is which program it is.
	Kind Kind

	Capabilities
}

// requestTimeout bounds the requests of this package, all of them small.
const requestTimeout = 30 * time.Second

// NewDB creates an empty database with a name of its own and returns its URL, with
// credentials. It is deleted when the test ends.
func (s *Server) NewDB(t testing.TB) string {
	t.Helper()
	db := s.AbsentDB(t)
	if err := s.send(context.WithoutCancel(t.Context()), http.MethodPut, db, http.StatusCreated); err != nil {
		t.Fatalf("create a database on %s: %v", s.Name, err)
	}
	return db
}

// AbsentDB returns the URL of a database that does not exist, for tests of
// create_target. If it has come to exist it is deleted when the test ends.
func (s *Server) AbsentDB(t testing.TB) string {
	t.Helper()
	db := s.URL + "/millrace_e2e_" + randomHex(8)
	t.Cleanup(func() {
		err := s.send(context.WithoutCancel(t.Context()), http.MethodDelete, db, http.StatusOK, http.StatusNotFound)
		if err != nil {
			t.Errorf("delete a database on %s: %v", s.Name, err)
		}
	})
	return db
}

// send makes a request without a body and checks the answer's status.
func (s *Server) send(ctx context.Context, method, address string, wanted ...int) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, address, http.NoBody)
	if err != nil {
		return hideUser(err)
	}
	req.Close = true // nothing of it may outlive the test
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return hideUser(err)
	}
	defer func() { _ = res.Body.Close() }()
	for _, status := range wanted {
		if res.StatusCode == status {
			return nil
		}
	}
	return fmt.Errorf("%s answered %s", method, res.Status)
}

// hideUser takes the address, which may have a password (invariant 9), out of an
// error of the http package.
func hideUser(err error) error {
	if e, ok := err.(*url.Error); ok {
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return err
}

// randomHex returns n random bytes in hex.
func randomHex(n int) string {
	buf := make([]byte, n)
	_, _ = rand.Read(buf) // never fails, by its contract
	return hex.EncodeToString(buf)
}
