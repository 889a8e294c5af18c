package control

import (
	"fmt"
	"net"
	"testing"

	"millrace/pkg/couch"
)

// The words are CouchDB's (reference section 3.1), so far as it is the database that is in the way.
func TestRefusalsAreInCouchDBsWords(t *testing.T) {
	db, err := couch.Open(couch.Endpoint{URL: "http://db.test:5984/x"}, couch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	unresolved := func(name string) error {
		return fmt.Errorf("info: %w", &couch.RequestError{Method: "GET", URL: "u", Err: &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}})
	}
	for _, c := range []struct {
		err       error
		says      string
		permanent bool
	}{
		{unresolved("db.test"), "nxdomain: could not resolve http://db.test:5984/x", false},
		{unresolved("proxy.test"), "error: info: GET u: lookup proxy.test: no such host", false},
		{&couch.HTTPError{Method: "GET", URL: "u", Status: 404, Err: "not_found"}, "db_not_found: could not open http://db.test:5984/x", true},
		{&couch.HTTPError{Status: 401}, "unauthorized: unauthorized to access or create database http://db.test:5984/x", true},
		{&couch.HTTPError{Status: 403}, "forbidden: http://db.test:5984/x", true},
		{&couch.ThrottledError{Method: "GET", URL: "u"}, "max_backoff: GET u: not sent, the server answers 429", false},
		{fmt.Errorf("%w: file /p: not there", couch.ErrCredentials), "error: cannot log in: file /p: not there", true},
	} {
		r := refusal(db, c.err)
		if got := r.Error + ": " + r.Reason; got != c.says || r.Permanent != c.permanent {
			t.Errorf("%v: %s, permanent %t", c.err, got, r.Permanent)
		}
	}
}
