package millpond_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"millrace/pkg/millpond"
)

// The users of the tests, under names that no other run has.
var (
	joe  = fmt.Sprintf("millpond_test_joe_%d", os.Getpid())
	boss = fmt.Sprintf("millpond_test_boss_%d", os.Getpid())

	accounts = map[string]millpond.Account{
		joe:  {Password: "j:oe"},
		boss: {Password: "boss", Roles: []string{"bosses"}},
	}
)

// createAccounts makes the users on a CouchDB; they are in Millpond already.
func (db *database) createAccounts(t *testing.T) {
	t.Helper()
	if !db.couch {
		return
	}
	for name, account := range accounts {
		path := "/_users/org.couchdb.user:" + name
		doc, err := json.Marshal(map[string]any{
			"name": name, "password": account.Password, "type": "user", "roles": append([]string{}, account.Roles...),
		})
		if err != nil {
			t.Fatal(err)
		}
		r := db.sendTo("PUT", path, string(doc))
		if r.status != 201 {
			t.Fatalf("create user: %d %s", r.status, r.body)
		}
		t.Cleanup(func() { db.sendTo("DELETE", path+"?rev="+r.revOf(t), "") })
	}
}

// as is the database to somebody else; nobody if name is empty.
func (db *database) as(name string) *database {
	_, host, _ := strings.Cut(db.url, "@")
	p := *db.peer
	p.url = "http://" + host
	if name != "" {
		p.login = "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+accounts[name].Password))
	}
	return &database{peer: &p, t: db.t, name: db.name}
}

const (
	notServerAdmin = `{"error":"unauthorized","reason":"You are not a server admin."}`
	notAnyAdmin    = `{"error":"unauthorized","reason":"You are not a server or db admin."}`
)

func TestOnlyMembersHaveAccess(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.createAccounts(t)
		requests := func(status int, want string) (all []exchange) {
			for _, path := range []string{"", "/a", "/_changes", "/_local/a", "/_security"} {
				all = append(all, exchange{"GET", path, "", status, want})
			}
			return append(all, exchange{"PUT", "/a", "{}", status, want}, exchange{"PUT", "/_design/a", "{}", status, want},
				exchange{"PUT", "/_local/a", "{}", status, want}, exchange{"POST", "/_bulk_docs", `{"docs":[]}`, status, want})
		}
		stranger, member := db.as(""), db.as(joe)
		refused := `{"error":"unauthorized","reason":"You are not authorized to access this db."}`
		stranger.converse(requests(401, refused))
		member.converse(requests(403, `{"error":"forbidden","reason":"You are not allowed to access this db."}`))
		for _, security := range []string{
			`{"members":{"names":["` + joe + `"]}}`,
			`{"members":{"roles":["x"]},"admins":{"names":["` + joe + `"]}}`,
			`{}`,
			`{"members":{"names":[],"roles":[]}}`,
		} {
			db.converse([]exchange{{"PUT", "/_security", security, 200, `{"ok":true}`}})
			member.converse([]exchange{{"GET", "/_security", "", 200, security}, {"GET", "/x", "", 404, missing}})
			if strings.Contains(security, joe) {
				stranger.converse([]exchange{{"GET", "/x", "", 401, refused}})
			} else {
				stranger.converse([]exchange{{"GET", "/x", "", 404, missing}, {"PUT", "/_local/x", `{}`, 201, `{"ok":true,"id":"_local/x","rev":"0-1"}`}})
			}
		}
	})
}

func TestWhatOnlyAdministratorsMay(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.createAccounts(t)
		db.converse([]exchange{{"PUT", "/_security", `{"members":{"names":["` + joe + `"]},"admins":{"roles":["bosses"]}}`, 200, ""}})
		const notAdmin = `"error":"forbidden","reason":"You are not a db or server admin."`
		db.as(joe).converse([]exchange{
			{"PUT", "/_design/x", `{}`, 403, `{` + notAdmin + `}`},
			{"POST", "/_bulk_docs", `{"docs":[{"_id":"a"},{"_id":"_design/a"}]}`, 201, `[{"ok":true,"id":"a","rev":"1-HASH"},{"id":"_design/a",` + notAdmin + `}]`},
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"b","_rev":"1-a"},{"_id":"_design/a","_rev":"1-a"}]}`, 201, `[{"id":"_design/a","rev":"1-a",` + notAdmin + `}]`},
			{"PUT", "/_local/x", `{}`, 201, ""},
			{"POST", "/_compact", ``, 401, notAnyAdmin},
			{"POST", "/_purge", `{}`, 401, notServerAdmin},
			{"DELETE", "", ``, 401, notServerAdmin},
		})
		db.as(boss).converse([]exchange{
			{"PUT", "/_design/x", `{}`, 201, ""},
			{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"_design/b","_rev":"1-a"}]}`, 201, `[]`},
			{"POST", "/_compact", ``, 202, ""},
			{"POST", "/_purge", `{}`, 401, notServerAdmin},
			{"DELETE", "", ``, 401, notServerAdmin},
		})
		for _, somebody := range []*database{db.as(""), db.as(joe), db.as(boss)} {
			for path, want := range map[string]int{"/": 200, "/_up": 200, "/_session": 200, "/_uuids": 200, "/_all_dbs": 401, "/no-such-database": 404} {
				if r := somebody.sendTo("GET", path, ""); r.status != want {
					t.Errorf("GET %s: %d %s, want %d", path, r.status, r.body, want)
				}
			}
			if r := somebody.sendTo("PUT", "/millpond_test_never_created", ""); r.status != 401 {
				t.Errorf("create a database: %d %s", r.status, r.body)
			}
		}
	})
}

func TestValidationSeesTheUser(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.createAccounts(t)
		security := `{"members":{"names":["` + joe + `"]},"admins":{"roles":["bosses"]}}`
		db.converse([]exchange{{"PUT", "/_security", security, 200, ""}})
		db.design("v", `function(n, o, u, s) { throw {forbidden: JSON.stringify([u.name, u.roles, s])} }`)
		for name, want := range map[string]string{joe: `["` + joe + `",[],` + security + `]`, boss: `["` + boss + `",["bosses"],` + security + `]`} {
			var answer struct{ Reason string }
			if err := json.Unmarshal([]byte(db.as(name).send("PUT", "/a", `{}`).body), &answer); err != nil {
				t.Fatal(err)
			}
			db.sameJSON(name, answer.Reason, want)
		}
	})
}

func TestSessionCookies(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.createAccounts(t)
		open := db.as("")
		r := open.sendTo("POST", "/_session", `{"name":"`+joe+`","password":"`+accounts[joe].Password+`"}`)
		open.sameJSON("login", r.body, `{"ok":true,"name":"`+joe+`","roles":[]}`)
		cookie, attributes, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
		if !strings.Contains(attributes, "Max-Age=600") {
			t.Errorf("attributes %q", attributes)
		}
		r = open.sendTo("GET", "/_session", "", "Cookie", cookie)
		open.sameJSON("session", r.body, `{"ok":true,"userCtx":{"name":"`+joe+`","roles":[]},"info":{"authentication_handlers":["cookie","default"],"authenticated":"cookie"}}`)
		if r.header.Get("Set-Cookie") != "" {
			t.Errorf("a young cookie is renewed: %s", r.header.Get("Set-Cookie"))
		}
		r = open.sendTo("GET", "/_session", "", "Cookie", "AuthSession=none")
		open.sameJSON("malformed", r.body, `{"error":"bad_request","reason":"Malformed AuthSession cookie. Please clear your cookies."}`)
		r = open.sendTo("POST", "/_session", `{"name":"millpond_test_nobody","password":"x"}`)
		open.sameJSON("unknown", r.body, `{"error":"unauthorized","reason":"Name or password is incorrect."}`)
		r = db.as(joe).sendTo("DELETE", "/_session", "")
		if cookie, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";"); cookie != "AuthSession=" {
			t.Errorf("after the logout: %s", cookie)
		}
	})
}

func TestSessionsEndAndAreRenewed(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	pond := serve(t, millpond.Options{
		AdminUser: "adm", AdminPassword: "pass", SessionLife: 20 * time.Second, Now: func() time.Time { return now },
	})
	db := pond.database(t)
	open := db.as("")
	login := open.sendTo("POST", "/_session", `{"name":"adm","password":"pass"}`)
	if !strings.Contains(login.header.Get("Set-Cookie"), "Max-Age=20") {
		t.Errorf("cookie %q", login.header.Get("Set-Cookie"))
	}
	cookie, _, _ := strings.Cut(login.header.Get("Set-Cookie"), ";")
	now = now.Add(15 * time.Second)
	r := open.send("GET", "", "", "Cookie", cookie)
	renewed, _, _ := strings.Cut(r.header.Get("Set-Cookie"), ";")
	if r.status != 200 || renewed == "" {
		t.Fatalf("after 15 s: %d, cookie %q", r.status, renewed)
	}
	now = now.Add(10 * time.Second)
	for cookie, want := range map[string]int{cookie: 401, renewed: 200} {
		if r := open.send("GET", "", "", "Cookie", cookie); r.status != want {
			t.Errorf("after 25 s: %d, want %d", r.status, want)
		}
	}
}

func TestRequireValidUser(t *testing.T) {
	db := serve(t, millpond.Options{AdminUser: "adm", AdminPassword: "pass", RequireValidUser: true}).database(t)
	open := db.as("")
	for _, path := range []string{"/", "/_up", "/_session", "/" + db.name, "/none"} {
		r := open.sendTo("GET", path, "")
		if r.status != 401 {
			t.Errorf("GET %s: %d", path, r.status)
		}
		open.sameJSON(path, r.body, `{"error":"unauthorized","reason":"Authentication required."}`)
	}
	if r := open.sendTo("POST", "/_session", `{"name":"adm","password":"pass"}`); r.status != 200 {
		t.Errorf("login: %d %s", r.status, r.body)
	}
}

func TestReadOnlyUsersWriteNothing(t *testing.T) {
	accounts[joe+"r"] = millpond.Account{Password: "r", ReadOnly: true}
	defer delete(accounts, joe+"r")
	db := serve(t, millpond.Options{AdminUser: "adm", AdminPassword: "pass", Users: accounts}).database(t)
	db.converse([]exchange{{"PUT", "/_security", `{}`, 200, ""}, {"PUT", "/a", `{}`, 201, ""}})
	const refused = `{"error":"forbidden","reason":"_writer access is required for this request"}`
	db.as(joe + "r").converse([]exchange{
		{"GET", "/a", "", 200, ""},
		{"POST", "/_bulk_get", `{"docs":[{"id":"a"}]}`, 200, ""},
		{"POST", "/_revs_diff", `{}`, 200, ""},
		{"PUT", "/b", `{}`, 403, refused},
		{"PUT", "/_local/b", `{}`, 403, refused},
		{"POST", "/_bulk_docs", `{"docs":[{}]}`, 403, refused},
		{"POST", "", `{}`, 403, refused},
		{"DELETE", "/a", ``, 403, refused},
		{"PUT", "/a/f", `x`, 403, refused},
	})
	if got := db.send("GET", "", "").body; !strings.Contains(got, `"doc_count":1`) {
		t.Errorf("database %s", got)
	}
}
