package shop_test

import (
	"bytes"
	"encoding/json"
	"image/png"
	"io"
	"net/url"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
	"millrace/services/millrace/shop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const seed = 1

// open returns an empty database.
func open(t *testing.T) *couch.DB {
	t.Helper()
	pond, err := millpond.New(millpond.Options{}).Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pond.Close(); err != nil {
			t.Error(err)
		}
	})
	db, err := couch.Open(couch.Endpoint{URL: pond.URL + "/shop"}, couch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestLoadWritesWhatTheCensusSays(t *testing.T) {
	db := open(t)
	s := shop.New(3000, seed)
	var reported int
	census, err := s.Load(t.Context(), db, func(docs int) { reported = docs })
	if err != nil {
		t.Fatal(err)
	}
	if reported != 3000 || census.Documents != 3000 || census.Design != 3 {
		t.Errorf("progress ended at %d, census %+v", reported, census)
	}
	info, err := db.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if info.DocCount != int64(census.Documents-census.Deleted) || info.DocDelCount != int64(census.Deleted) {
		t.Errorf("the database counts %d documents and %d deleted, the census %+v", info.DocCount, info.DocDelCount, census)
	}
	leaves, several, deleted := count(t, db)
	if leaves != census.Leaves || several != census.Conflicts+census.Resolved || deleted != census.Deleted {
		t.Errorf("the feed has %d leaves, %d documents with several and %d deleted, the census %+v", leaves, several, deleted, census)
	}
}

// count reads the feed: all leaves, documents with several, and deleted documents.
func count(t *testing.T, db *couch.DB) (leaves, several, deleted int) {
	t.Helper()
	changes, err := db.Changes(t.Context(), couch.ChangesOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Close() //nolint:errcheck // nothing is written
	for {
		row, err := changes.Next()
		if err == io.EOF {
			return leaves, several, deleted
		}
		if err != nil {
			t.Fatal(err)
		}
		leaves += len(row.Revs)
		if len(row.Revs) > 1 {
			several++
		}
		if row.Deleted {
			deleted++
		}
	}
}

func TestShopHasItsShareOfEverything(t *testing.T) {
	var census struct{ edited, deleted, conflicts, resolved, attached int }
	const docs = 10_000
	s := shop.New(docs, seed)
	for i := range docs {
		d := s.Document(i)
		census.attached += min(1, d.Attachments)
		switch d.Kind {
		case shop.Edited:
			census.edited++
		case shop.Deleted:
			census.deleted++
		case shop.Conflict:
			census.conflicts++
		case shop.Resolved:
			census.resolved++
		}
	}
	for what, c := range map[string]struct{ got, low, high int }{
		"edited":           {census.edited, 1600, 2000},
		"deleted":          {census.deleted, 240, 360},
		"in conflict":      {census.conflicts, 150, 250},
		"resolved":         {census.resolved, 60, 140},
		"with attachments": {census.attached, 350, 400},
	} {
		if c.got < c.low || c.got > c.high {
			t.Errorf("%d of %d %s, want %d to %d", c.got, docs, what, c.low, c.high)
		}
	}
}

func TestShopIsTheSameForTheSameSeed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		docs := rapid.IntRange(1, 60_000).Draw(t, "docs")
		i := rapid.IntRange(0, docs-1).Draw(t, "document")
		of := rapid.Uint64().Draw(t, "seed")
		a, b := shop.New(docs, of).Document(i), shop.New(docs, of).Document(i)
		if a.ID != b.ID || !slices.EqualFunc(a.Leaves, b.Leaves, bytes.Equal) {
			t.Fatalf("document %d differs: %s, %s", i, a.ID, b.ID)
		}
	})
}

func TestIDsAreUniqueAndWhatOrdersReferToIsThere(t *testing.T) {
	for _, docs := range []int{1, 2, 6, 7, 10, 26, 40, 999, 5000} {
		s := shop.New(docs, seed)
		ids := map[string]bool{}
		for i := range docs {
			ids[s.Document(i).ID] = true
		}
		if len(ids) != docs {
			t.Errorf("%d documents have %d ids", docs, len(ids))
		}
		for i := range docs {
			for _, leaf := range s.Document(i).Leaves {
				for _, id := range references(t, leaf) {
					if !ids[id] {
						t.Fatalf("of %d documents, number %d refers to %s", docs, i, id)
					}
				}
			}
		}
	}
}

func references(t *testing.T, leaf []byte) []string {
	t.Helper()
	var order struct {
		Type     string                     `json:"type"`
		Customer string                     `json:"customer"`
		Lines    []struct{ Product string } `json:"lines"`
	}
	if err := json.Unmarshal(leaf, &order); err != nil {
		t.Fatal(err)
	}
	if order.Type != "order" {
		return nil
	}
	ids := []string{order.Customer}
	for _, l := range order.Lines {
		ids = append(ids, l.Product)
	}
	return ids
}

func TestPhotosArePictures(t *testing.T) {
	db := open(t)
	s := shop.New(100, seed)
	if _, err := s.Load(t.Context(), db, func(int) {}); err != nil {
		t.Fatal(err)
	}
	product, found := s.Find(func(d shop.Document) bool { return d.Attachments > 0 })
	if !found {
		t.Fatal("no document has an attachment")
	}
	photo, err := db.GetAttachment(t.Context(), product.ID, "", "photo.png", "")
	if err != nil {
		t.Fatal(err)
	}
	defer photo.Close() //nolint:errcheck // nothing is written
	if _, err := png.Decode(photo); err != nil {
		t.Error(err)
	}
}

func TestConflictsShareTheirPastAndNothingElse(t *testing.T) {
	s := shop.New(1000, seed)
	inConflict, found := s.Find(func(d shop.Document) bool { return d.Kind == shop.Conflict })
	if !found {
		t.Fatal("nothing is in conflict")
	}
	db := open(t)
	if _, err := s.Load(t.Context(), db, func(int) {}); err != nil {
		t.Fatal(err)
	}
	raw, err := db.Get(t.Context(), inConflict.ID, url.Values{"conflicts": {"true"}, "revs": {"true"}})
	if err != nil {
		t.Fatal(err)
	}
	var winner struct {
		Conflicts []string `json:"_conflicts"`
	}
	if err := json.Unmarshal(raw, &winner); err != nil {
		t.Fatal(err)
	}
	if len(winner.Conflicts) != len(inConflict.Leaves)-1 {
		t.Errorf("%s has the conflicts %v, and %d leaves", inConflict.ID, winner.Conflicts, len(inConflict.Leaves))
	}
}

func TestLoadTellsOfARefusal(t *testing.T) {
	pond := millpond.New(millpond.Options{Validate: func(_, id string, _ []byte) error {
		if id == "order:0000100" {
			return millpond.Forbidden("no")
		}
		return nil
	}})
	l, err := pond.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test has seen what it wants
	db, err := couch.Open(couch.Endpoint{URL: l.URL + "/shop"}, couch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := shop.New(1000, seed).Load(t.Context(), db, func(int) {}); err == nil {
		t.Error("no error")
	}
}

func BenchmarkDocument(b *testing.B) {
	s := shop.New(50_000, seed)
	bytes, i := 0, 0
	for b.Loop() {
		for _, leaf := range s.Document(i % s.Docs()).Leaves {
			bytes += len(leaf)
		}
		i++
	}
	b.ReportMetric(float64(bytes)/float64(b.N), "B/doc")
}
