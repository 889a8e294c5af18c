package millpond_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

type update struct {
	Name    string          `json:"db_name"`
	Type    string          `json:"type"`
	Seq     json.RawMessage `json:"seq"`
	LastSeq json.RawMessage `json:"last_seq"`
}

// withUpdates makes the database in which the peer announces updates, if there is none: a real server
// keeps what it has.
func (db *database) withUpdates() {
	db.t.Helper()
	if r := db.sendTo("PUT", "/_global_changes", ""); r.status != 201 && r.status != 412 {
		db.t.Fatalf("create _global_changes: %d %s", r.status, r.body)
	}
}

func (db *database) updates(query string) (list []update, last string) {
	db.t.Helper()
	r := db.sendTo("GET", "/_db_updates?"+query, "")
	var answer struct {
		Results []update
		LastSeq json.RawMessage `json:"last_seq"`
		Pending *int
	}
	if err := json.Unmarshal([]byte(r.body), &answer); err != nil || r.status != 200 {
		db.t.Fatalf("_db_updates?%s: %d %s: %v", query, r.status, r.body, err)
	}
	if answer.Pending != nil {
		db.t.Errorf("_db_updates?%s counts what is pending: %s", query, r.body)
	}
	return answer.Results, bare(answer.LastSeq)
}

// announces reads a feed until it has told so of a database, whatever it tells of others.
func (db *database) announces(query, name string, types ...string) {
	db.t.Helper()
	u, err := url.Parse(db.url + "/_db_updates?" + query)
	if err != nil {
		db.t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}).Get(u.String())
	if err != nil {
		db.t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it is read only
	lines := bufio.NewScanner(resp.Body)
	for len(types) > 0 && lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		var u update
		if err := json.Unmarshal(lines.Bytes(), &u); err != nil {
			db.t.Fatalf("line %q: %v", lines.Text(), err)
		}
		if u.Name == name && u.Type == types[0] {
			types = types[1:]
		}
	}
	if len(types) > 0 {
		db.t.Errorf("%s: %q of %s did not come: %v", query, types, name, lines.Err())
	}
}

func TestUpdatesNameDatabasesAsTheyAre(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.withUpdates()
		_, now := db.updates("since=now&limit=0")
		name := db.name + "/a+b"
		if r := db.sendTo("PUT", "/"+url.QueryEscape(name), ""); r.status != 201 {
			t.Fatalf("create: %d %s", r.status, r.body)
		}
		db.announces("feed=continuous&heartbeat=1000&since="+now, name, "created")
		_, later := db.updates("since=now&limit=0")
		if r := db.sendTo("PUT", "/"+url.QueryEscape(name)+"/doc", "{}"); r.status != 201 {
			t.Fatalf("write: %d %s", r.status, r.body)
		}
		db.announces("feed=continuous&heartbeat=1000&since="+later, name, "updated")
		if r := db.sendTo("DELETE", "/"+url.QueryEscape(name), ""); r.status != 200 {
			t.Fatalf("delete: %d %s", r.status, r.body)
		}
		db.announces("feed=continuous&heartbeat=1000&since="+later, name, "deleted")
		list, _ := db.updates("since=" + now)
		types := map[string]int{}
		for _, u := range list {
			if u.Name == name {
				types[u.Type]++
			}
		}
		if types["created"] != 1 || types["updated"] != 1 || types["deleted"] != 1 {
			t.Errorf("each type is there once, at its newest: %v", types)
		}
	})
}

func TestUpdatesAreWaitedFor(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.withUpdates()
		_, now := db.updates("since=now&limit=0")
		db.converse([]exchange{{"PUT", "/doc", `{}`, 201, ""}})
		list, last := db.updates("feed=longpoll&since=" + now)
		if len(list) == 0 {
			t.Error("a longpoll feed ended without an update")
		}
		for len(list) > 0 { // those of others on a server that is shared
			list, last = db.updates("since=" + last)
		}
		if r := db.sendTo("GET", "/_db_updates?feed=continuous&timeout=1&since="+last, ""); !strings.HasPrefix(r.body, `{"last_seq":`) {
			t.Errorf("a continuous feed that is over says %d %s", r.status, r.body)
		}
	})
}

// What is written is announced, but not what is _local, refused, or there already.
func TestOnlyChangesAreAnnounced(t *testing.T) {
	pond := serve(t, adminPond)
	db := pond.database(t)
	db.withUpdates()
	db.converse([]exchange{
		{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"doc","_rev":"1-a"}]}`, 201, `[]`},
	})
	_, now := db.updates("since=now&limit=0")
	db.converse([]exchange{
		{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[{"_id":"doc","_rev":"1-a"}]}`, 201, `[]`},
		{"PUT", "/_local/x", `{}`, 201, ""},
		{"PUT", "/doc", `{}`, 409, ""},
	})
	if list, _ := db.updates("since=" + now); len(list) != 0 {
		t.Errorf("announced %v", list)
	}
}

func TestUpdatesAreForAdministratorsAndRefusedAsCouchDBDoes(t *testing.T) {
	eachPeer(t, func(t *testing.T, db *database) {
		db.withUpdates()
		for query, want := range map[string]string{
			"feed=bogus":      `{"error":"bad_request","reason":"Supported ` + "`feed`" + ` types: normal, continuous, longpoll, eventsource"}`,
			"limit=x":         `{"error":"bad_request","reason":"invalid_integer"}`,
			"limit=-1":        `{"error":"bad_request","reason":"invalid_integer"}`,
			"heartbeat=never": `{"error":"bad_request","reason":"invalid_integer"}`,
			"since=garbage":   `{"error":"bad_request","reason":"Malformed sequence supplied in 'since' parameter."}`,
		} {
			r := db.sendTo("GET", "/_db_updates?"+query, "")
			if r.status != 400 {
				t.Errorf("%s: %d", query, r.status)
			}
			db.sameJSON(query, r.body, want)
		}
		if r := db.sendTo("POST", "/_db_updates", "{}"); r.status != 405 {
			t.Errorf("POST: %d %s", r.status, r.body)
		}
		u, err := url.Parse(db.url)
		if err != nil {
			t.Fatal(err)
		}
		u.User = nil
		stranger := &database{peer: &peer{name: db.peer.name, url: u.String()}, t: t, name: db.name}
		r := stranger.sendTo("GET", "/_db_updates", "")
		if r.status != 401 {
			t.Errorf("a stranger: %d", r.status)
		}
		db.sameJSON("a stranger", r.body, `{"error":"unauthorized","reason":"You are not a server admin."}`)
	})
}

func TestUpdatesAreNotThereWithoutTheirDatabase(t *testing.T) {
	db := serve(t, adminPond).database(t)
	r := db.sendTo("GET", "/_db_updates?since=now&limit=0", "")
	if r.status != 404 {
		t.Errorf("%d %s", r.status, r.body)
	}
	db.sameJSON("without _global_changes", r.body, `{"error":"not_found","reason":"Database does not exist."}`)
}

func TestSilentServerAnnouncesNothing(t *testing.T) {
	o := adminPond
	o.SilentUpdates = true
	db := serve(t, o).database(t)
	db.withUpdates()
	db.converse([]exchange{{"PUT", "/doc", `{}`, 201, ""}})
	if list, _ := db.updates(""); len(list) != 0 {
		t.Errorf("announced %v", list)
	}
}
