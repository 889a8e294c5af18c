package dataset_test

import (
	"maps"
	"slices"
	"testing"

	"millrace/e2e/dataset"
	"millrace/e2e/peer"
)

func TestBulkLoadsTheDocumentsItSays(t *testing.T) {
	const n = 2500 // several requests and a part of one
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		fill(t, dataset.Bulk(n, 1000), s, db)
		rows := changes(t, db)
		if len(rows) != n {
			t.Fatalf("%d documents, want %d", len(rows), n)
		}
		var doc struct {
			Owner string `json:"owner"`
			Text  string `json:"text"`
		}
		get(t, db+"/"+dataset.BulkID(n-1), &doc)
		if doc.Owner != dataset.BulkOwner(n-1) || len(doc.Text) < 300 {
			t.Errorf("the last document is %+v", doc)
		}
	})
}

func TestBulkIsTheSameOnAllServers(t *testing.T) {
	var first map[string]row
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		fill(t, dataset.Bulk(10, 300), s, db)
		rows := changes(t, db)
		if first == nil {
			first = rows
		}
		same := func(a, b row) bool { return a.Changes[0] == b.Changes[0] }
		if !maps.EqualFunc(first, rows, same) {
			t.Errorf("differs from the first server's: %v", slices.Sorted(maps.Keys(rows)))
		}
	})
}

func TestBulkOfADifferentSeedHasDifferentRevisions(t *testing.T) {
	s := peer.All(t)[0]
	a, b := s.NewDB(t), s.NewDB(t)
	fill(t, dataset.Bulk(1, 300), s, a)
	if err := dataset.Bulk(1, 300)(t.Context(), b, s.Capabilities, seed+1); err != nil {
		t.Fatal(err)
	}
	id := dataset.BulkID(0)
	if changes(t, a)[id].Changes[0] == changes(t, b)[id].Changes[0] {
		t.Error("the revisions are equal")
	}
}

func TestAttachedHasAnAttachmentOfTheSizeItSays(t *testing.T) {
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		fill(t, dataset.Attached(20, 10_000), s, db)
		var doc struct {
			Attachments map[string]struct {
				Length int `json:"length"`
			} `json:"_attachments"`
		}
		get(t, db+"/"+dataset.BulkID(19), &doc)
		if got := doc.Attachments["photo"].Length; got != 10_000 {
			t.Errorf("it has %d bytes", got)
		}
	})
}

// BenchmarkBulk says how fast each server is loaded.
func BenchmarkBulk(b *testing.B) {
	for _, s := range peer.All(b) {
		b.Run(s.Name, func(b *testing.B) {
			const n = 5000
			b.SetBytes(n * 1000)
			for b.Loop() {
				if err := dataset.Bulk(n, 1000)(b.Context(), s.NewDB(b), s.Capabilities, seed); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "docs/s")
		})
	}
}
