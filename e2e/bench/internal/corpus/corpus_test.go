package corpus

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

// written decodes what a batch writes.
func written(t *testing.T, b Batch) []map[string]json.RawMessage {
	t.Helper()
	var request struct {
		NewEdits *bool                        `json:"new_edits"`
		Docs     []map[string]json.RawMessage `json:"docs"`
	}
	if err := json.Unmarshal(b.Write, &request); err != nil {
		t.Fatal(err)
	}
	if request.NewEdits == nil || *request.NewEdits {
		t.Error("new_edits is not false")
	}
	return request.Docs
}

func TestSameSeedSameBytes(t *testing.T) {
	if !reflect.DeepEqual(New(7, 25, 1000, 10), New(7, 25, 1000, 10)) {
		t.Error("the same seed made other documents")
	}
	if bytes.Equal(New(7, 1, 1000, 10).Batches[0].Write, New(8, 1, 1000, 10).Batches[0].Write) {
		t.Error("another seed made the same documents")
	}
}

func TestBatchesCoverAllDocumentsOnce(t *testing.T) {
	c := New(1, 25, 500, 10)
	ids := map[string]bool{}
	last := ""
	for i, b := range c.Batches {
		docs := written(t, b)
		if want := []int{10, 10, 5}[i]; b.Docs != want || len(docs) != want {
			t.Errorf("batch %d: %d and %d documents, want %d", i, b.Docs, len(docs), want)
		}
		for _, doc := range docs {
			id := string(doc["_id"])
			if id <= last {
				t.Errorf("%s follows %s", id, last)
			}
			last = id
			ids[id] = true
		}
	}
	if len(ids) != 25 {
		t.Errorf("%d ids", len(ids))
	}
}

func TestReadAsksForWhatWriteWrites(t *testing.T) {
	b := New(1, 10, 500, 10).Batches[0]
	var request struct {
		Docs []struct{ ID, Rev json.RawMessage } `json:"docs"`
	}
	if err := json.Unmarshal(b.Read, &request); err != nil {
		t.Fatal(err)
	}
	for i, doc := range written(t, b) {
		got := request.Docs[i]
		if !bytes.Equal(got.ID, doc["_id"]) || !bytes.Equal(got.Rev, doc["_rev"]) {
			t.Errorf("document %d: asks for %s at %s, writes %s at %s", i, got.ID, got.Rev, doc["_id"], doc["_rev"])
		}
		history := fmt.Sprintf(`{"start":1,"ids":["%s]}`, doc["_rev"][3:])
		if string(doc["_revisions"]) != history {
			t.Errorf("history %s, want %s", doc["_revisions"], history)
		}
	}
}

func TestDocumentsHaveTheSizeAskedFor(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(MinSize, 20000).Draw(t, "size")
		docs := rapid.IntRange(1, 20).Draw(t, "docs")
		b := New(rapid.Uint64().Draw(t, "seed"), docs, size, docs).Batches[0]
		if b.Bytes != int64(size*docs) {
			t.Fatalf("%d documents of %d bytes have %d", docs, size, b.Bytes)
		}
		if !json.Valid(b.Write) || !json.Valid(b.Read) {
			t.Fatal("no JSON")
		}
	})
}

func TestFieldsAreJSONHoweverSmall(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for size := range MinSize {
		if !json.Valid(fmt.Appendf(nil, "{%s}", Fields(random, size))) {
			t.Fatalf("no JSON of %d bytes", size)
		}
	}
}

func TestDocumentsDoNotCompressToNothing(t *testing.T) {
	b := New(1, 100, 1000, 100).Batches[0]
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(b.Write); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if share := float64(packed.Len()) / float64(len(b.Write)); share < 0.4 {
		t.Errorf("compresses to %.0f %%", share*100)
	}
}

func TestOwnersHaveEveryDocumentOnce(t *testing.T) {
	o := NewOwned(7, 103, 600, 10, 10)
	if len(o.Owners) != 10 {
		t.Fatalf("%d owners", len(o.Owners))
	}
	all := map[string]string{} // owners, by id
	docs := 0
	for i, batch := range o.Owners {
		var request struct {
			Docs []struct {
				ID    string `json:"_id"`
				Owner string
			}
		}
		if err := json.Unmarshal(batch.Write, &request); err != nil {
			t.Fatal(err)
		}
		if len(request.Docs) != batch.Docs || batch.Docs < 10 {
			t.Errorf("owner %d: %d documents, said to be %d", i, len(request.Docs), batch.Docs)
		}
		for _, d := range request.Docs {
			if docs++; d.Owner != Owner(i) {
				t.Errorf("%s of owner %d has %q", d.ID, i, d.Owner)
			}
			all[d.ID] = d.Owner
		}
	}
	if docs != 103 || len(all) != 103 {
		t.Errorf("%d documents, %d ids", docs, len(all))
	}
	for _, batch := range o.Batches {
		var request struct {
			Docs []map[string]any
		}
		if err := json.Unmarshal(batch.Write, &request); err != nil {
			t.Fatal(err)
		}
		for _, d := range request.Docs {
			if d["owner"] != all[d["_id"].(string)] {
				t.Errorf("%v has %v at the source", d["_id"], d["owner"])
			}
		}
	}
}
