package dataset_test

import (
	"errors"
	"strings"
	"testing"

	"millrace/e2e/dataset"
	"millrace/e2e/peer"
)

func newEditor(t *testing.T, db, prefix string, seed uint64) *dataset.Editor {
	t.Helper()
	e, err := dataset.NewEditor(db, prefix, seed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func TestEditorMakesEditsOfAllKinds(t *testing.T) {
	const n = 300
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		e := newEditor(t, db, "edit-", seed)
		if err := e.Edit(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		done := e.Done()
		// PouchDB attaches to the winning leaf only and refuses the others.
		if done.Total()+done.Overtaken != n || done.Overtaken > 0 && s.Kind != peer.PouchDB {
			t.Errorf("of %d edits: %+v", n, done)
		}
		for kind, count := range map[string]int{
			"created": done.Created, "updated": done.Updated, "deleted": done.Deleted,
			"conflicts": done.Conflicts, "attached": done.Attached,
		} {
			if count == 0 {
				t.Errorf("none is of kind %s", kind)
			}
		}
		conflicts, deleted := 0, 0
		for id, row := range changes(t, db) {
			if !strings.HasPrefix(id, "edit-") {
				t.Errorf("wrote %q", id)
			}
			if len(row.Changes) > 1 {
				conflicts++
			}
			if row.Deleted {
				deleted++
			}
		}
		if conflicts == 0 || deleted == 0 {
			t.Errorf("the database has %d conflicts and %d deleted documents", conflicts, deleted)
		}
	})
}

func TestEditorDoesTheSameForTheSameSeed(t *testing.T) {
	everywhere(t, func(t *testing.T, s *peer.Server, db string) {
		a, b := newEditor(t, db, "e", seed), newEditor(t, s.NewDB(t), "e", seed)
		for _, e := range []*dataset.Editor{a, b} {
			if err := e.Edit(t.Context(), 100); err != nil {
				t.Fatal(err)
			}
		}
		if a.Done() != b.Done() {
			t.Errorf("%+v, then %+v", a.Done(), b.Done())
		}
	})
}

func TestEditorGoesOnWhenAnotherWriterWasFaster(t *testing.T) {
	everywhere(t, func(t *testing.T, _ *peer.Server, db string) {
		a, b := newEditor(t, db, "e", seed), newEditor(t, db, "e", seed+1)
		for range 10 {
			for _, e := range []*dataset.Editor{a, b} {
				if err := e.Edit(t.Context(), 20); err != nil {
					t.Fatal(err)
				}
			}
		}
		if a.Done().Overtaken == 0 || b.Done().Total() == 0 {
			t.Errorf("one did %+v, the other %+v", a.Done(), b.Done())
		}
	})
}

func TestEditorReportsADatabaseThatIsGone(t *testing.T) {
	everywhere(t, func(t *testing.T, s *peer.Server, _ string) {
		e := newEditor(t, s.AbsentDB(t), "e", seed)
		err := e.Edit(t.Context(), 1)
		var refused *dataset.RefusedError
		if err == nil {
			t.Fatalf("edited: %+v", e.Done())
		}
		if errors.As(err, &refused) && refused.Status != 404 {
			t.Errorf("refused with %v", err)
		}
	})
}
