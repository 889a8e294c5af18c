package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/peer"
	"millrace/e2e/program"
)

// seqs are the sequences of a database's changes, in order, and the ids beside them.
func seqs(t *testing.T, db string) (seqs []json.RawMessage, ids []string) {
	t.Helper()
	var feed struct {
		Results []struct {
			Seq json.RawMessage
			ID  string
		}
	}
	ask(t, http.MethodGet, db+"/_changes", "", &feed)
	for _, row := range feed.Results {
		seqs, ids = append(seqs, row.Seq), append(ids, row.ID)
	}
	return seqs, ids
}

func since(seq json.RawMessage) string { return `"since_seq":` + string(seq) }

func TestSinceSeqIsWhereTheFirstReplicationBegins(t *testing.T) {
	eachReplicator(t, func(s scenario, replicate replicator) {
		numbered(s.T, s.source, 1, 5)
		at, _ := seqs(s.T, s.source)
		r := replicate(s, since(at[2]))
		s.counted(r, 1, 2, 2, 2, 2, 0)
		if string(r.History[0].StartLastSeq) != string(at[2]) {
			s.Errorf("it began at %s, and not at %s", r.History[0].StartLastSeq, at[2])
		}
		if _, copied := seqs(s.T, s.target); len(copied) != 2 {
			s.Errorf("%q were copied", copied)
		}
	})
}

func TestWithoutSinceSeqTheSecondReplicationBeginsAtTheCheckpoint(t *testing.T) {
	eachReplicator(t, func(s scenario, replicate replicator) {
		numbered(s.T, s.source, 1, 5)
		first := replicate(s, "")
		numbered(s.T, s.source, 6, 8)
		second := replicate(s, "")
		s.counted(second, 2, 8, 8, 8, 8, 0)
		if began := second.History[0].StartLastSeq; string(began) != string(first.SourceLastSeq) {
			s.Errorf("it began at %s, and the first had got to %s", began, first.SourceLastSeq)
		}
		s.same()
	})
}

// From CouchDB 3.5.2 on; before, since_seq came before the checkpoint, and all that had been
// replicated since was looked at again each time (ADR 017).
func TestCheckpointComesBeforeSinceSeqAndAnotherSinceSeqIsAnotherReplication(t *testing.T) {
	eachPair(t, func(s scenario) {
		numbered(s.T, s.source, 1, 6)
		at, ids := seqs(s.T, s.source)
		first := millrace(s, since(at[1]))
		s.counted(first, 1, 4, 4, 4, 4, 0)
		numbered(s.T, s.source, 7, 8)
		again := millrace(s, since(at[1]))
		s.counted(again, 2, 6, 6, 6, 6, 0)
		if began := again.History[0].StartLastSeq; string(began) != string(first.SourceLastSeq) {
			s.Errorf("it began at %s, and the first had got to %s", began, first.SourceLastSeq)
		}
		other := millrace(s, since(at[0]))
		s.counted(other, 1, 7, 1, 1, 1, 0)
		if _, copied := seqs(s.T, s.target); len(copied) != 7 || slices.Contains(copied, ids[0]) {
			s.Errorf("%q were copied", copied)
		}
	})
}

// shards is what a CouchDB says of how a database is laid out.
type shards struct {
	Cluster struct{ Q, N int }
	Props   struct{ Partitioned bool }
}

func TestCreateTargetParamsAreThoseOfTheNewDatabase(t *testing.T) {
	for fields, want := range map[string]shards{
		`"create_target_params":{"q":4}`:                    {Cluster: struct{ Q, N int }{Q: 4, N: 1}},
		`"create_target_params":{"q":"1","n":1}`:            {Cluster: struct{ Q, N int }{Q: 1, N: 1}},
		`"create_target_params":{"q":2,"partitioned":true}`: {Cluster: struct{ Q, N int }{Q: 2, N: 1}, Props: struct{ Partitioned bool }{true}},
		`"worker_processes":2`:                              {Cluster: struct{ Q, N int }{Q: 2, N: 1}},
	} {
		t.Run(fields, func(t *testing.T) {
			eachReplicator(t, func(s scenario, replicate replicator) {
				if s.pair.Source.Kind != s.pair.Target.Kind {
					return // it is about the target
				}
				for i := range 5 {
					save(s.T, s.source, fmt.Sprintf("a:%d", i), `"v":1`)
				}
				s.target = s.pair.Target.AbsentDB(s.T)
				direct := s
				var asked chan string
				if s.pair.Target.Kind != peer.CouchDB {
					asked = s.watchCreation()
				}
				s.counted(replicate(s, `"create_target":true,`+fields), 1, 5, 5, 5, 5, 0)
				direct.same()
				if asked != nil {
					query := <-asked
					for _, param := range []string{"q=4", "q=1", "n=1", "q=2", "partitioned=true"} {
						name, value, _ := strings.Cut(param, "=")
						given := strings.Contains(fields, fmt.Sprintf(`%q:%s`, name, value)) || strings.Contains(fields, fmt.Sprintf(`%q:%q`, name, value))
						if given != slices.Contains(strings.Split(query, "&"), param) {
							s.Errorf("asked for ?%s", query)
						}
					}
					return
				}
				var made shards
				ask(s.T, http.MethodGet, s.target, "", &made)
				if made != want {
					s.Errorf("made %+v, want %+v", made, want)
				}
			})
		})
	}
}

// watchCreation leads the way to the target through a proxy, and tells with which query the
// target was made.
func (s *scenario) watchCreation() chan string {
	asked := make(chan string, 1)
	through(s.T, &s.target).Add(chaosproxy.Rule{Match: func(r *http.Request) bool {
		if r.Method == http.MethodPut && chaosproxy.Classify(r) == chaosproxy.Database {
			select {
			case asked <- r.URL.RawQuery:
			default:
			}
		}
		return false
	}})
	return asked
}

func TestCreateTargetParamsAloneCreateNothing(t *testing.T) {
	eachPair(t, func(s scenario) {
		numbered(s.T, s.source, 1, 2)
		s.target = s.pair.Target.AbsentDB(s.T)
		r := program.Replicate(s.T, "--document", s.document(`"create_target":false,"create_target_params":{"q":2}`))
		r.Exited(program.ExitFailed)
		if !strings.Contains(r.Stderr.String(), "db_not_found") {
			s.Errorf("it said %s", r.Stderr)
		}
		if status := ask(s.T, http.MethodGet, s.target, "", nil); status != http.StatusNotFound {
			s.Errorf("the target answers %d", status)
		}
	})
}
