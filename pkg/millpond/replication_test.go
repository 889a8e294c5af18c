package millpond_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"millrace/pkg/millpond"
)

// variety fills a database with what a replicator may meet.
func variety(db *database) {
	db.t.Helper()
	db.load(50)
	db.converse([]exchange{
		{"POST", "/_bulk_docs", `{"new_edits":false,"docs":[` +
			`{"_id":"conflict","_revisions":{"start":2,"ids":["b","a"]},"v":1},{"_id":"conflict","_revisions":{"start":2,"ids":["c","a"]},"v":2},` +
			`{"_id":"conflict","_revisions":{"start":3,"ids":["t","b2","a"]},"_deleted":true},` +
			`{"_id":"deleted","_rev":"4-d","_deleted":true,"why":"old"},{"_id":"a/b c+d%é","_rev":"1-r"},{"_id":"_design/x","_rev":"1-r","language":"none"},` +
			`{"_id":"small","_rev":"1-s","_attachments":{"f":{"content_type":"application/x-plain","revpos":1,"data":"aGVsbG8="},"e mpty":{"content_type":"application/x-plain","revpos":1,"data":""}}}` +
			`]}`, 201, `[]`},
	})
	big := strings.Repeat("0123456789abcdef", 8192)
	first := db.send("PUT", "/files/big", big, "Content-Type", plain).revOf(db.t)
	second := db.send("PUT", "/files/packed?rev="+first, gzipped(db.t, big), "Content-Type", plain, "Content-Encoding", "gzip").revOf(db.t)
	db.converse([]exchange{{"PUT", "/files?rev=" + second, `{"note":"kept","_attachments":{"big":{"stub":true},"packed":{"stub":true}}}`, 201, ""}})
}

// contents is everything in a database in an order of its own: each leaf of each
// document with its history and attachments as stored.
func contents(db *database) []string {
	db.t.Helper()
	var all []string
	for _, row := range db.changes("style=all_docs").Results {
		var revs []string
		for _, c := range row.Changes {
			revs = append(revs, c.Rev)
		}
		slices.Sort(revs)
		list, err := json.Marshal(revs)
		if err != nil {
			db.t.Fatal(err)
		}
		path := "/" + url.PathEscape(row.ID)
		if name, ok := strings.CutPrefix(row.ID, "_design/"); ok {
			path = "/_design/" + name
		}
		r := db.send("GET", path+"?revs=true&att_encoding_info=true&open_revs="+url.QueryEscape(string(list)), "")
		v, err := parseAnswer(r.body)
		if err != nil || r.status != 200 {
			db.t.Fatalf("%s: %d %s: %v", path, r.status, r.body, err)
		}
		all = append(all, fmt.Sprint(row.ID, row.Deleted, v))
	}
	slices.Sort(all)
	return all
}

// TestCouchDBReplicatesWithMillpond lets CouchDB's own replicator judge.
func TestCouchDBReplicatesWithMillpond(t *testing.T) {
	eachPeer(t, func(t *testing.T, couch *database) {
		if !couch.couch {
			t.Skip("needs a CouchDB in MILLRACE_TEST_COUCHDB on this machine")
		}
		if u, err := url.Parse(couch.url); err != nil || u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost" {
			t.Skip("the CouchDB could not reach a server of this test")
		}
		pond := serve(t, millpond.Options{}).database(t)
		back := couch.database(t)
		variety(couch)
		for _, way := range [][2]*database{{couch, pond}, {pond, back}} {
			body := fmt.Sprintf(`{"source":"%s/%s","target":"%s/%s"}`, way[0].url, way[0].name, way[1].url, way[1].name)
			if r := couch.sendTo("POST", "/_replicate", body); r.status != 200 {
				t.Fatalf("%s: %d %s", body, r.status, r.body)
			}
		}
		want := contents(couch)
		for name, db := range map[string]*database{"millpond": pond, "back in CouchDB": back} {
			got := contents(db)
			for i := range want {
				if i >= len(got) || got[i] != want[i] {
					t.Errorf("%s, document %d\n got %s\nwant %s", name, i, strings.Join(got[i:min(i+1, len(got))], ""), want[i])
				}
			}
		}
	})
}

// TestConcurrentWritersLoseNothing writes from several clients while a feed reads.
func TestConcurrentWritersLoseNothing(t *testing.T) {
	const writers, writes, docs = 4, 25, 7
	db := serve(t, millpond.Options{}).database(t)
	lines, stop := db.follow("feed=continuous&heartbeat=20&style=all_docs")
	defer stop()
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range writes {
				doc := fmt.Sprintf(`{"_id":"d%d","_rev":"1-w%dx%d"}`, i%docs, w, i)
				if r := db.send("POST", "/_bulk_docs", `{"new_edits":false,"docs":[`+doc+`]}`); r.status != 201 {
					t.Errorf("%s: %d %s", doc, r.status, r.body)
				}
			}
		})
	}
	seen := make(map[string]bool)
	for len(seen) < writers*writes {
		var row changeRow
		if err := json.Unmarshal([]byte(nextRow(t, lines)), &row); err != nil {
			t.Fatal(err)
		}
		for _, c := range row.Changes {
			seen[row.ID+" "+c.Rev] = true
		}
	}
	wait.Wait()
	if a := db.changes("style=all_docs"); len(a.Results) != docs {
		t.Errorf("%d documents, want %d", len(a.Results), docs)
	}
}
