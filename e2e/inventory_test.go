package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"millrace/e2e/program"
)

// The tests of this file do what CouchDB's own tests of its replicator do, step by step, and
// expect what those expect (docs/TESTS.md says which is which). They run with Millrace, and
// with CouchDB's replicator where there is one.

const (
	text1 = "All the miller's daughters came to see the new wheel.\n"
	data2 = "\x00\x01\x02 wheel \xff\xfe and more of it"
)

// numbered writes the documents first to last as Elixir's make_docs does.
func numbered(t *testing.T, db string, first, last int) {
	t.Helper()
	for i := first; i <= last; i++ {
		save(t, db, fmt.Sprint(i), fmt.Sprintf(`"integer":%d,"string":"%d"`, i, i))
	}
}

func TestSuccessiveReplicationsCountOnAsInCouchDB(t *testing.T) {
	eachReplicator(t, func(s scenario, replicate replicator) {
		numbered(s.T, s.source, 1, 20)
		save(s.T, s.source, "_design/foo", `"language":"javascript","value":"ddoc"`)
		for i := 10; i < 15; i++ {
			attach(s.T, s.source, fmt.Sprint(i), "readme.txt", "text/plain", strings.Repeat(text1, 20))
		}
		first := replicate(s, "")
		s.counted(first, 1, 21, 21, 21, 21, 0)
		if string(first.History[0].StartLastSeq) != "0" {
			s.Errorf("it began at %s", first.History[0].StartLastSeq)
		}
		s.same()

		save(s.T, s.source, "foo666", `"value":"d"`)
		for i := 10; i < 15; i++ {
			attach(s.T, s.source, fmt.Sprint(i), "data.dat", "application/binary", data2)
		}
		s.counted(replicate(s, ""), 2, 27, 27, 27, 27, 0)
		s.same()
		if s.pair.Shared().Revpos {
			for i := 10; i < 15; i++ {
				copied, _ := look(s.T, s.target, fmt.Sprint(i))
				text, data := copied.Attachments["readme.txt"], copied.Attachments["data.dat"]
				if text.Revpos != 2 || !text.Stub || data.Revpos != 3 || !data.Stub || data.ContentType != "application/binary" {
					s.Errorf("document %d: %+v", i, copied.Attachments)
				}
			}
		}

		save(s.T, s.source, "1", `"_deleted":true`)
		s.counted(replicate(s, ""), 3, 28, 28, 28, 28, 0)
		s.same()

		// A conflict is made, its one side updated, and then it is resolved.
		ours := save(s.T, s.source, "2", `"value":"white"`)
		theirs := save(s.T, s.target, "2", `"value":"black"`)
		s.counted(replicate(s, ""), 4, 29, 29, 29, 29, 0)
		s.leaves("2", ours, theirs)
		ours = save(s.T, s.source, "2", `"value":"yellow"`)
		s.counted(replicate(s, ""), 5, 30, 30, 30, 30, 0)
		s.leaves("2", ours, theirs)
		saveOver(s.T, s.target, "2", theirs, `"_deleted":true`)
		ours = save(s.T, s.source, "2", `"value":"rainbow"`)
		s.counted(replicate(s, ""), 6, 31, 31, 31, 31, 0)
		s.leaves("2", ours)
		if copied, _ := look(s.T, s.target, "2"); copied.Value != "rainbow" {
			s.Errorf("the winner is %+v", copied)
		}

		// Revisions that are there are not copied. They have the same content, and so, on one
		// kind of server, the same revision.
		if s.pair.Source.Kind != s.pair.Target.Kind || s.pair.Source.IntegerSeqs {
			return
		}
		for i := 1; i <= 3; i++ {
			save(s.T, s.source, fmt.Sprintf("foo%d", i), fmt.Sprintf(`"value":%d`, 111*i))
		}
		save(s.T, s.target, "foo1", `"value":111`)
		save(s.T, s.target, "foo3", `"value":333`)
		s.counted(replicate(s, ""), 7, 34, 32, 32, 32, 0)
		for i := 4; i <= 5; i++ {
			for _, db := range []string{s.source, s.target} {
				save(s.T, db, fmt.Sprintf("foo%d", i), fmt.Sprintf(`"value":%d`, 111*i))
			}
		}
		last := replicate(s, "")
		s.counted(last, 8, 36, 32, 32, 32, 0)

		nothing := replicate(s, "")
		if !nothing.NoChanges || nothing.SessionID != last.SessionID || len(nothing.History) != 8 {
			s.Errorf("without changes: %+v", nothing)
		}
	})
}

// leaves checks which revisions of the target's document are live leaves, the winner first.
func (s scenario) leaves(id string, revs ...string) {
	s.Helper()
	copied, _ := look(s.T, s.target, id)
	got := append([]string{copied.Rev}, copied.Conflicts...)
	slices.Sort(got)
	slices.Sort(revs)
	if !slices.Equal(got, revs) {
		s.Errorf("%s has the leaves %v, want %v", id, got, revs)
	}
}

// Without a change ever there is nothing that CouchDB could say about a session.
func TestReplicationOfAnEmptyDatabaseHasNoChanges(t *testing.T) {
	eachReplicator(t, func(s scenario, replicate replicator) {
		for range 2 {
			if r := replicate(s, ""); !r.NoChanges || !r.OK {
				s.Errorf("%+v", r)
			}
		}
	})
}

func TestValidationRefusalsAreCountedAsInCouchDB(t *testing.T) {
	eachReplicator(t, func(s scenario, replicate replicator) {
		if !s.pair.Target.Validation {
			s.Skip("the target has no validation functions")
		}
		for i := 1; i <= 7; i++ {
			attached := ""
			if i == 2 || i == 3 {
				attached = `,"_attachments":{"hello.txt":{"content_type":"text/plain","data":"aGVsbG8gd29ybGQ="}}`
			}
			save(s.T, s.source, fmt.Sprint(i), fmt.Sprintf(`"integer":%d%s`, i, attached))
		}
		save(s.T, s.target, "_design/test", `"language":"javascript","validate_doc_update":`+
			`"function (newDoc) { if ((newDoc.integer % 2) !== 0) { throw({forbidden: 'I only like multiples of 2.'}); } }"`)
		s.counted(replicate(s, ""), 1, 7, 7, 7, 3, 4)
		for i := 1; i <= 7; i++ {
			if _, there := look(s.T, s.target, fmt.Sprint(i)); there != (i%2 == 0) {
				s.Errorf("document %d is at the target: %t", i, there)
			}
		}
	})
}

// by fills the fields of a replication by doc_ids.
func by(ids ...string) string {
	if len(ids) == 0 {
		return `"doc_ids":[]`
	}
	return `"doc_ids":["` + strings.Join(ids, `","`) + `"]`
}

func TestReplicationByDocIDsAsInCouchDB(t *testing.T) {
	for i, c := range []struct {
		initial, after []string
		conflict       string
	}{
		{[]string{"1", "2", "10"}, nil, "2"},
		{[]string{"1", "2"}, []string{"7"}, "1"},
		{[]string{"1", "foo_666", "10"}, []string{"7"}, "10"},
		{[]string{"_design/foo", "8"}, []string{"foo_5"}, "8"},
		{[]string{"_design%2Ffoo", "8"}, []string{"foo_5"}, "8"},
		{nil, []string{"foo_1000", "_design/foo", "1"}, "1"},
	} {
		t.Run(strings.Join(c.initial, " "), func(t *testing.T) {
			turn := i
			eachReplicator(t, func(s scenario, replicate replicator) {
				if turn++; s.pair.Source.Kind != s.pair.Target.Kind && turn%2 == 0 {
					return // half of them with servers that are not alike: it is long
				}
				numbered(s.T, s.source, 1, 10)
				save(s.T, s.source, "_design/foo", `"language":"javascript","integer":1`)
				var copied []string
				for _, ids := range [][]string{c.initial, c.after} {
					n := 0
					for _, id := range ids {
						if !strings.HasPrefix(id, "foo_") {
							n, copied = n+1, append(copied, strings.ReplaceAll(id, "%2F", "/"))
						}
					}
					s.read(replicate(s, by(ids...)), n)
					for _, id := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "_design/foo"} {
						if _, there := look(s.T, s.target, id); there != slices.Contains(copied, id) {
							s.Errorf("%s is at the target: %t", id, there)
						}
					}
				}
				if copied[0] != c.conflict && !slices.Contains(copied, c.conflict) {
					s.Fatalf("%v were copied", copied)
				}

				// An update is copied, with its attachments, and makes no conflict.
				save(s.T, s.source, c.conflict, `"integer":666`)
				attach(s.T, s.source, c.conflict, "readme.txt", "text/plain", strings.Repeat(text1, 20))
				attach(s.T, s.source, c.conflict, "data.dat", "application/binary", data2)
				s.read(replicate(s, by(c.conflict)), 1)
				updated, _ := look(s.T, s.target, c.conflict)
				if !strings.HasPrefix(updated.Rev, "4-") || len(updated.Conflicts) > 0 || len(updated.Attachments) != 2 {
					s.Errorf("after the update: %+v", updated)
				}
				if a := updated.Attachments; s.pair.Shared().Revpos && (a["readme.txt"].Revpos != 3 || a["data.dat"].Revpos != 4) {
					s.Errorf("after the update: %+v", updated)
				}

				ours := save(s.T, s.source, c.conflict, `"integer":766`)
				theirs := save(s.T, s.target, c.conflict, `"integer":667`)
				s.read(replicate(s, by(c.conflict)), 2)
				s.leaves(c.conflict, ours, theirs)
			})
		})
	}
}

// read checks what a replication by doc_ids says on top of its history: what it has read and
// written in all its sessions, or that there was nothing.
func (s scenario) read(r program.Result, n int) {
	s.Helper()
	if r.NoChanges != (n == 0) {
		s.Errorf("no_changes %t: %+v", r.NoChanges, r)
	}
	if n == 0 {
		return
	}
	if r.DocsRead == nil || r.DocsWritten == nil || r.DocWriteFailures == nil || *r.DocsRead != n || *r.DocsWritten != n ||
		*r.DocWriteFailures != 0 || r.StartTime == "" {
		s.Errorf("want %d: %+v", n, r)
	}
}
