package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"millrace/e2e/compare"
	"millrace/e2e/peer"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// onto leads a scenario to a new database of a server of the test's own.
func (s *scenario) onto(o millpond.Options) {
	s.Helper()
	_, target := pond(s.T, o)
	s.target = target + "/db"
	put(s.T, s.target, "", "")
}

// except compares all but some documents.
func (s scenario) except(ids ...string) {
	s.Helper()
	o := compare.For(s.pair)
	o.Wanted = func(id string) bool {
		for _, not := range ids {
			if id == not {
				return false
			}
		}
		return true
	}
	compare.Require(s.T, s.source, s.target, o)
}

func text(n int) string { return fmt.Sprintf(`"x":%q`, strings.Repeat("x", n)) }

func TestIDThatIsTooLongForTheTargetIsRejectedAlone(t *testing.T) {
	long := strings.Repeat("n", 50) // that of a checkpoint has 39
	for limit, written := range map[int]int{50: 3, 49: 2} {
		s := onMillponds(t)
		s.onto(millpond.Options{MaxDocumentIDLength: limit})
		for _, id := range []string{long, "a", "b"} {
			save(t, s.source, id, `"v":1`)
		}
		code := map[bool]int{true: program.ExitOK, false: program.ExitRejected}[written == 3]
		if c := s.replicate().Exited(code); c.DocsWritten != written || c.DocWriteFailures != 3-written {
			t.Errorf("limit %d: %+v", limit, c.Counters)
		}
		if written == 3 {
			s.except()
		} else {
			s.except(long)
		}
	}
}

// There is no way to go on without a place for checkpoints, but to be told to.
func TestTargetThatRefusesCheckpointsForTheirFormIsSaidToAtOnce(t *testing.T) {
	s := onMillponds(t)
	s.onto(millpond.Options{MaxDocumentIDLength: 5})
	save(t, s.source, "12345", `"v":1`)
	r := s.replicate()
	r.Exited(program.ExitFailed)
	if said := r.Stderr.String(); !strings.Contains(said, "illegal_docid") {
		t.Errorf("it said %s", said)
	}
	s.replicate("--no-checkpoints").Completed()
	s.except()
}

func TestAttachmentThatIsTooLargeForTheTargetIsRejectedWithItsDocument(t *testing.T) {
	for limit, written := range map[int64]int{1000: 2, 999: 1} {
		s := onMillponds(t)
		s.onto(millpond.Options{MaxAttachmentSize: limit})
		save(t, s.source, "plain", `"v":1`)
		save(t, s.source, "attached", `"v":1`)
		attach(t, s.source, "attached", "att", "app/binary", strings.Repeat("x", 1000))
		code := map[bool]int{true: program.ExitOK, false: program.ExitRejected}[written == 2]
		if c := s.replicate().Exited(code); c.DocsWritten != written || c.DocWriteFailures != 2-written {
			t.Errorf("limit %d: %+v", limit, c.Counters)
		}
		if written == 2 {
			s.except()
		} else {
			s.except("attached")
		}
	}
}

func TestTargetThatTakesSmallRequestsOnlyGetsWhatFits(t *testing.T) {
	const limit = 10_000
	fill := func(s scenario) {
		for i := range 5 {
			save(t, s.source, fmt.Sprintf("doc%d", i+1), text(3000))
		}
	}
	for name, c := range map[string]struct {
		fill     func(s scenario)
		rejected []string
		written  int
	}{
		"all": {fill, nil, 5},
		"one large and one small": {func(s scenario) {
			save(t, s.source, "doc0", text(12000))
			save(t, s.source, "doc1", text(3000))
		}, []string{"doc0"}, 1},
		"one with a large attachment": {func(s scenario) {
			fill(s)
			save(t, s.source, "doc0", text(300))
			attach(t, s.source, "doc0", "att1", "app/binary", strings.Repeat("x", 70000))
		}, []string{"doc0"}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			s := onMillponds(t)
			s.onto(millpond.Options{MaxRequestSize: limit})
			c.fill(s)
			code := map[bool]int{true: program.ExitOK, false: program.ExitRejected}[c.rejected == nil]
			got := s.replicate("--workers", "1").Exited(code)
			if got.DocsWritten != c.written || got.DocWriteFailures != len(c.rejected) {
				t.Errorf("%+v", got.Counters)
			}
			s.except(c.rejected...)
		})
	}
}

func TestLargeAttachmentsOfAllTypesArrive(t *testing.T) {
	eachPair(t, func(s scenario) {
		docs := 11
		if s.pair.Source.Kind == peer.PouchDB || s.pair.Target.Kind == peer.PouchDB || s.pair.Source.Kind != s.pair.Target.Kind {
			docs = 1
		}
		random := rand.NewChaCha8([32]byte{1})
		content := func(n int) string {
			buf := make([]byte, n)
			_, _ = random.Read(buf) // never fails, by its contract
			return string(buf)
		}
		for i := range docs {
			id := fmt.Sprint(i)
			attach(s.T, s.source, id, "att1", "text/plain", content(2<<20))
			attach(s.T, s.source, id, "att2", "app/binary", content(6_600_000))
		}
		if summary := s.replicate().Completed(); summary.DocsWritten != docs {
			s.Errorf("summary: %+v", summary.Counters)
		}
		s.same()
	})
}
