package millpond

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"millrace/pkg/revtree"
)

// TestMemoryListsTheNewestChangeOfEachDocument compares the store with a list
// that is searched.
func TestMemoryListsTheNewestChangeOfEachDocument(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ctx := context.Background()
		db := newMemoryDB("1")
		seqs := make(map[string]uint64) // the model
		var seq uint64
		for i := range rapid.IntRange(1, 60).Draw(rt, "writes") {
			id := rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(rt, "id")
			remove := seqs[id] != 0 && rapid.IntRange(0, 5).Draw(rt, "purge") == 0
			err := db.Update(ctx, id, func(tree Tree) (Tree, error) {
				if remove {
					return Tree{}, nil
				}
				tree, _, _ = tree.Merge(revtree.Path{Start: 1, IDs: []string{fmt.Sprint(i)}}, false, &Revision{})
				return tree, nil
			})
			if err != nil {
				rt.Fatal(err)
			}
			seq++
			seqs[id] = seq
			if remove {
				delete(seqs, id)
			}
		}
		since := uint64(rapid.IntRange(0, int(seq)).Draw(rt, "since"))
		checkChanges(rt, db, seqs, since)
		checkIDs(rt, db, seqs)
	})
}

func checkChanges(rt *rapid.T, db *memoryDB, seqs map[string]uint64, since uint64) {
	ctx := context.Background()
	var want []uint64
	for _, s := range seqs {
		if s > since {
			want = append(want, s)
		}
	}
	slices.Sort(want)
	docs, err := db.Changes(ctx, since, 100, false, nil)
	if err != nil {
		rt.Fatal(err)
	}
	var got []uint64
	for _, doc := range docs {
		got = append(got, doc.Seq)
		if seqs[doc.ID] != doc.Seq {
			rt.Fatalf("%s is listed at %d, its newest change is %d", doc.ID, doc.Seq, seqs[doc.ID])
		}
	}
	pending, err := db.Pending(ctx, since)
	if err != nil || !slices.Equal(got, want) || pending != len(want) {
		rt.Fatalf("after %d: %v and %d pending (%v), want %v", since, got, pending, err, want)
	}
}

func checkIDs(rt *rapid.T, db *memoryDB, seqs map[string]uint64) {
	ids, err := db.IDs(context.Background())
	if err != nil {
		rt.Fatal(err)
	}
	want := make([]string, 0, len(seqs))
	for id := range seqs {
		want = append(want, id)
	}
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		rt.Fatalf("ids %v, want %v", ids, want)
	}
}

func TestChangeLogForgetsReplacedChanges(t *testing.T) {
	var log changeLog
	doc := &Doc{ID: "a"}
	for seq := uint64(1); seq <= 10*minSweep; seq++ {
		if seq > 1 {
			log.remove(seq - 1)
		}
		doc = &Doc{ID: "a", Seq: seq}
		log.add(doc)
	}
	if got := log.after(0, 10, nil); len(got) != 1 || got[0] != doc {
		t.Errorf("changes %v", got)
	}
	if len(log.entries) > minSweep+1 {
		t.Errorf("one live change takes %d entries", len(log.entries))
	}
}
