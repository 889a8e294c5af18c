package control_test

import (
	"errors"
	"strings"
	"testing"

	"millrace/pkg/control"
	millracev1 "millrace/proto/millrace/v1"
)

func (s *side) filter(designDoc, name string) (*millracev1.DatabaseReply, error) {
	s.t.Helper()
	return s.ask(&millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_GetFilter_{
		GetFilter: &millracev1.DatabaseRequest_GetFilter{DesignDoc: designDoc, Name: name},
	}})
}

// The errors are those of CouchDB's replicator, whose reasons have more of Erlang in them.
func TestGetFilterReadsTheFunction(t *testing.T) {
	s := newSide(t)
	rev, err := s.db.Put(t.Context(), "_design/a b", []byte(`{"filters":{"by/owner":"  function(doc) {\n  return '€';\n}\n"}}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.db.Put(t.Context(), "_design/none", []byte(`{"views":{}}`), nil); err != nil {
		t.Fatal(err)
	}
	reply, err := s.filter("a b", "by/owner")
	if err != nil {
		t.Fatal(err)
	}
	if reply.Code != "  function(doc) {\n  return '€';\n}\n" || reply.DesignDocRev != rev {
		t.Errorf("the function is %q of %s", reply.Code, reply.DesignDocRev)
	}
	for _, c := range []struct{ designDoc, name, want string }{
		{"nosuch", "x", "Couldn't open document `_design/nosuch` from source database `"},
		{"none", "x", "Couldn't parse filter code from document none on `"},
		{"none", "x", "Error: {not_found,<<\"missing json key: filters\">>}"},
		{"a b", "x", "Error: {not_found,<<\"missing json key: x\">>}"},
	} {
		_, err := s.filter(c.designDoc, c.name)
		var refused *control.Error
		if !errors.As(err, &refused) || !errors.Is(err, control.ErrFilter) || refused.Permanent || !strings.Contains(refused.Reason, c.want) {
			t.Errorf("%s/%s: %v", c.designDoc, c.name, err)
		}
	}
	if err := s.db.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.filter("a b", "by/owner"); !errors.Is(err, control.ErrFilter) || !strings.Contains(err.Error(), "Could not open source database `") {
		t.Errorf("of a database that is not there: %v", err)
	}
}
