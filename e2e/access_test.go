package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/compare"
	"millrace/e2e/dataset"
	"millrace/e2e/peer"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// readOnly leads to the source by a way on which nothing can be written, as of a service that
// has accounts for reading alone. (CouchDB has none: who may read a database may write it.)
func (s *scenario) readOnly() {
	reads := chaosproxy.On(chaosproxy.Changes, chaosproxy.BulkGet, chaosproxy.RevsDiff, chaosproxy.Session)
	through(s.T, &s.source).Add(chaosproxy.Rule{
		Match: func(r *http.Request) bool {
			return r.Method != http.MethodGet && r.Method != http.MethodHead && (r.Method != http.MethodPost || !reads(r))
		},
		Do: chaosproxy.Reply(http.StatusForbidden, http.Header{"Content-Type": {"application/json"}},
			`{"error":"forbidden","reason":"_writer access is required for this request"}`),
	})
}

// saysReadOnly checks that the job tells why the source has no checkpoint.
func saysReadOnly(t *testing.T, e program.Event) {
	t.Helper()
	if !slices.ContainsFunc(e.Notes, func(note string) bool { return strings.Contains(note, "the source refuses checkpoints") }) {
		t.Errorf("notes: %q", e.Notes)
	}
}

func TestReadOnlySourceIsReplicatedAndResumed(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.fill(dataset.Awkward)
		direct := s
		s.readOnly()
		data := s.TempDir()
		first := s.replicate("--data", data).Completed()
		saysReadOnly(s.T, first)
		direct.same()
		for db, want := range map[string]int{direct.source: http.StatusNotFound, s.target: http.StatusOK} {
			if status := ask(s.T, http.MethodGet, db+"/_local/"+base(first), "", nil); status != want {
				s.Errorf("asked for its checkpoint a database answers %d, want %d", status, want)
			}
		}

		// From the broker's copy, and from the target's when the broker has none. The instance of
		// a PouchDB has no name by which it could be known again.
		known := s.pair.Source.Kind != peer.PouchDB
		edits := s.edit(direct.source, "second-", 20, 3).Total()
		second := s.replicate("--data", data).Completed()
		saysReadOnly(s.T, second)
		if second.DocsWritten == 0 || known && second.MissingChecked > edits {
			s.Errorf("with the broker's copy, after %d edits: %+v", edits, second.Counters)
		}
		edits = s.edit(direct.source, "third-", 20, 4).Total()
		third := s.replicate().Completed()
		if third.DocsWritten == 0 || known && (third.MissingChecked > edits || len(third.Result.History) != 3) {
			s.Errorf("without it, after %d edits: %+v", edits, third)
		}
		direct.same()
	})
}

func TestReadOnlySourceIsFollowedAndResumed(t *testing.T) {
	eachPair(t, func(s scenario) {
		s.edit(s.source, "before-", 20, 1)
		direct := s
		s.readOnly()
		data := s.TempDir()
		follow := []string{"--continuous", "--checkpoint-interval", "100ms", "--data", data}
		r := s.replicate(follow...)
		direct.settled()
		saysReadOnly(s.T, r.Until(func(e program.Event) bool { return e.State == "running" }))
		if code := r.Interrupt(); code != program.ExitOK {
			s.Errorf("exit code %d after Ctrl-C", code)
		}
		s.edit(direct.source, "after-", 20, 2)
		r = s.replicate(follow...)
		direct.settled()
		r.Interrupt()
		direct.same()
	})
}

// A millpond has accounts that may only read, as some services have.
func TestAccountThatMayOnlyReadIsEnoughForTheSource(t *testing.T) {
	s := onMillponds(t)
	_, source := pond(t, millpond.Options{
		AdminUser: "adm", AdminPassword: "pass", Users: map[string]millpond.Account{"reader": {Password: "reader-secret", ReadOnly: true}},
	})
	as := func(user, password string) string { return withLogin(t, source, user, password) + "/db" }
	s.source = as("adm", "pass")
	put(t, s.source, "", "")
	put(t, s.source, "/_security", `{"members":{"names":["reader"]}}`)
	s.fill(dataset.Bulk(50, 300))
	direct := s
	s.source = as("reader", "reader-secret")
	saysReadOnly(t, s.replicate().Completed())
	direct.same()
}

// withLogin is an address with another user.
func withLogin(t *testing.T, address, user, password string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(user, password)
	return u.String()
}

// asMember is the address of a CouchDB's database for a user of its own who is a member and
// no administrator.
func asMember(t *testing.T, server *peer.Server, db string) string {
	t.Helper()
	name := strings.TrimPrefix(db, server.URL+"/") + "_member"
	user := server.URL + "/_users/org.couchdb.user:" + name
	put(t, user, "", fmt.Sprintf(`{"type":"user","name":%q,"password":"member-secret","roles":[]}`, name))
	t.Cleanup(func() {
		var doc struct {
			Rev string `json:"_rev"`
		}
		ask(t, http.MethodGet, user, "", &doc)
		ask(t, http.MethodDelete, user+"?rev="+doc.Rev, "", nil)
	})
	put(t, db, "/_security", fmt.Sprintf(`{"admins":{"roles":["_admin"]},"members":{"names":[%q]}}`, name))
	return withLogin(t, db, name, "member-secret")
}

func TestTargetUserWhoMayNotWriteDesignDocumentsGetsTheRest(t *testing.T) {
	run := func(s scenario, replicate replicator) {
		numbered(s.T, s.source, 1, 5)
		save(s.T, s.source, "_design/foo", `"language":"javascript"`)
		direct := s
		if s.pair.Target.Kind == peer.CouchDB {
			s.target = asMember(s.T, s.pair.Target, s.target)
		} else {
			_, target := pond(s.T, millpond.Options{
				AdminUser: "adm", AdminPassword: "pass", Users: map[string]millpond.Account{"member": {Password: "member-secret"}},
			})
			direct.target = withLogin(s.T, target, "adm", "pass") + "/db"
			put(s.T, direct.target, "", "")
			put(s.T, direct.target, "/_security", `{"admins":{"roles":["_admin"]},"members":{"names":["member"]}}`)
			s.target = withLogin(s.T, direct.target, "member", "member-secret")
		}
		s.counted(replicate(s, ""), 1, 6, 6, 6, 5, 1)
		if r := replicate(s, ""); !r.NoChanges { // the checkpoint covers what was refused
			s.Errorf("the second time: %+v", r)
		}
		o := compare.For(s.pair)
		o.Wanted = func(id string) bool { return !strings.HasPrefix(id, "_design/") }
		compare.Require(s.T, s.source, direct.target, o)
	}
	eachReplicator(t, func(s scenario, replicate replicator) {
		if s.pair.Target.Kind != peer.PouchDB {
			run(s, replicate)
		}
	})
}

// Elixir's "Author presence and user security when replicated": a validation function sees who
// replicates.
func TestValidationFunctionSeesTheUserWhoReplicates(t *testing.T) {
	eachReplicator(t, func(s scenario, replicate replicator) {
		if s.pair.Source.Kind != peer.CouchDB || s.pair.Target.Kind != peer.CouchDB {
			s.Skip("it takes users and validation functions")
		}
		as := asMember(s.T, s.pair.Target, s.target)
		u, err := url.Parse(as)
		if err != nil {
			s.Fatal(err)
		}
		spike := u.User.Username()
		save(s.T, s.source, "foo1", `"value":"a","author":"tom"`)
		save(s.T, s.source, "foo2", fmt.Sprintf(`"value":"a","author":%q`, spike))
		s.counted(replicate(s, ""), 1, 2, 2, 2, 2, 0)
		save(s.T, s.target, "_design/test", `"language":"javascript","validate_doc_update":"`+
			`function (newDoc, oldDoc, userCtx) {`+
			` if (!newDoc._deleted && !newDoc.author) { throw({forbidden: 'Documents must have an author field'}); }`+
			` if (oldDoc && oldDoc.author != userCtx.name) { throw({unauthorized: 'You are not the author.'}); } }"`)
		save(s.T, s.source, "bad2", `"value":"a"`)
		save(s.T, s.source, "foo1", `"value":"b","author":"tom"`)
		save(s.T, s.source, "foo2", fmt.Sprintf(`"value":"b","author":%q`, spike))
		direct := s
		s.target = as
		r := replicate(s, "") // of another user, and so another replication
		if h := r.History[0]; h.DocsWritten != 1 || h.DocWriteFailures != 2 {
			s.Errorf("%+v", h)
		}
		for id, want := range map[string]any{"foo1": "a", "foo2": "b", "bad2": nil} {
			if w, _ := look(s.T, direct.target, id); w.Value != want {
				s.Errorf("%s is %v, want %v", id, w.Value, want)
			}
		}
	})
}
