package dataset_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"millrace/e2e/dataset"
	"millrace/e2e/peer"
)

func TestMain(m *testing.M) { peer.Main(m) }

const seed = 7

// get reads JSON from an address into v.
func get(t *testing.T, url string, v any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("GET: %d %.200s %v", res.StatusCode, body, err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		t.Fatalf("GET: %v in %.200s", err, body)
	}
}

// row is a row of _changes with all leaves.
type row struct {
	ID      string `json:"id"`
	Deleted bool   `json:"deleted"`
	Changes []struct {
		Rev string `json:"rev"`
	} `json:"changes"`
}

// changes returns the rows of a database by id.
func changes(t *testing.T, db string) map[string]row {
	t.Helper()
	var feed struct {
		Results []row `json:"results"`
	}
	get(t, db+"/_changes?style=all_docs", &feed)
	rows := make(map[string]row)
	for _, r := range feed.Results {
		rows[r.ID] = r
	}
	return rows
}

// everywhere runs a test on every server.
func everywhere(t *testing.T, test func(t *testing.T, s *peer.Server, db string)) {
	t.Helper()
	for _, s := range peer.All(t) {
		t.Run(s.Name, func(t *testing.T) { test(t, s, s.NewDB(t)) })
	}
}

func fill(t *testing.T, set dataset.Dataset, s *peer.Server, db string) {
	t.Helper()
	if err := set(t.Context(), db, s.Capabilities, seed); err != nil {
		t.Fatal(err)
	}
}

func TestEmptyWritesNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		fill(t, dataset.Empty, s, db)
		if rows := changes(t, db); len(rows) != 0 {
			t.Errorf("%d documents", len(rows))
		}
	})
}

func TestAwkwardIsStoredOnEveryServer(t *testing.T) {
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		fill(t, dataset.Awkward, s, db)
		rows := changes(t, db)
		for id, leaves := range map[string]int{
			"tree-conflict-2": 2, "tree-conflict-100": 100, "tree-conflict-all-deleted": 3, "tree-unrelated-roots": 3,
			"tree-history-full": 1, "a/b": 1, ".": 1, "nul\x00": 1, "\U0001f600": 1, "cafe\u0301": 1, "caf\u00e9": 1,
			"body-big-integers": 1, "att-big": 1, "att-conflict": 2, "att-changed": 1, "_design/accept": 1,
		} {
			if got := len(rows[id].Changes); got != leaves {
				t.Errorf("%q has %d leaves, want %d", id, got, leaves)
			}
		}
		for _, id := range []string{"tree-deleted", "tree-deleted-at-birth", "tree-conflict-all-deleted", "att-deleted"} {
			if !rows[id].Deleted {
				t.Errorf("%q is not deleted", id)
			}
		}
	})
}

func TestAwkwardHasTheSameRevisionsForTheSameSeed(t *testing.T) {
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		second := s.NewDB(t)
		fill(t, dataset.Awkward, s, db)
		fill(t, dataset.Awkward, s, second)
		a, b := changes(t, db), changes(t, second)
		if len(a) != len(b) {
			t.Fatalf("%d documents, then %d", len(a), len(b))
		}
		for id := range a {
			if len(a[id].Changes) != len(b[id].Changes) || a[id].Changes[0] != b[id].Changes[0] {
				t.Errorf("%q: %v, then %v", id, a[id], b[id])
			}
		}
	})
}

func TestAwkwardHasALongHistory(t *testing.T) {
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		fill(t, dataset.Awkward, s, db)
		var doc struct {
			Revisions struct {
				Start int      `json:"start"`
				IDs   []string `json:"ids"`
			} `json:"_revisions"`
		}
		get(t, db+"/tree-history-full?revs=true", &doc)
		if doc.Revisions.Start != 1000 || len(doc.Revisions.IDs) != 1000 {
			t.Errorf("history begins at %d and has %d revisions", doc.Revisions.Start, len(doc.Revisions.IDs))
		}
	})
}

func TestAwkwardHasAttachmentsOfDifferentAges(t *testing.T) {
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		fill(t, dataset.Awkward, s, db)
		var doc struct {
			Edited      bool `json:"edited"`
			Attachments map[string]struct {
				Revpos int `json:"revpos"`
			} `json:"_attachments"`
		}
		get(t, db+"/att-changed", &doc)
		if len(doc.Attachments) != 3 || !doc.Edited {
			t.Fatalf("att-changed is %+v", doc)
		}
		for name, revpos := range map[string]int{"stays": 1, "replaced": 4, "late/text": 5} {
			if got := doc.Attachments[name].Revpos; got != revpos {
				t.Errorf("%s has revpos %d, want %d", name, got, revpos)
			}
		}
	})
}

func TestAwkwardKeepsClientGzippedAttachmentsWhereTheServerCan(t *testing.T) {
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		fill(t, dataset.Awkward, s, db)
		_, there := changes(t, db)["att-gzipped image/png"]
		if there != s.EncodedAttachments {
			t.Fatalf("the document is there: %t", there)
		}
		if !there {
			return
		}
		var doc struct {
			Attachments map[string]struct {
				Encoding string `json:"encoding"`
			} `json:"_attachments"`
		}
		get(t, db+"/att-gzipped%20image%2Fpng?att_encoding_info=true", &doc)
		if got := doc.Attachments["zipped"].Encoding; got != "gzip" {
			t.Errorf("its encoding is %q", got)
		}
	})
}
