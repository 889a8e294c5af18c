package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

// screened is a board of several targets as on a terminal, that draws whenever it may.
type screened struct {
	*board
	screen, summed bytes.Buffer
	jobs           []*millracev1.Job
}

func onTerminal(t *testing.T, targets int) *screened {
	t.Helper()
	s := &screened{}
	for i := range targets {
		s.jobs = append(s.jobs, &millracev1.Job{
			Id: fmt.Sprint("job-", i), ReplicationId: fmt.Sprintf("%032x", i), Continuous: true,
			TargetUrl: fmt.Sprintf("http://h/target-%d/", i), Notes: []string{"of all of them"},
		})
	}
	cmd := &cobra.Command{}
	cmd.SetOut(&s.summed)
	cmd.SetErr(&s.screen)
	s.board = newBoard(cmd, false, false, s.jobs)
	s.terminal = true
	return s
}

// goes takes in how a target goes, and returns what that draws.
func (s *screened) goes(t *testing.T, target int, written uint64) string {
	t.Helper()
	encoded, err := proto.Marshal(&millracev1.Status{
		Job: s.jobs[target].Id, Rows: 2 * written, Total: 100, Session: &millracev1.Counters{DocsWritten: written},
	})
	require.NoError(t, err)
	s.screen.Reset()
	s.last = time.Time{} // it is time to draw
	require.NotNil(t, s.status(encoded))
	return s.screen.String()
}

// becomes takes in a target's state, and returns what that draws.
func (s *screened) becomes(target int, state replication.State, reason string) string {
	s.screen.Reset()
	j := proto.Clone(s.jobs[target]).(*millracev1.Job)
	j.State, j.Reason = string(state), reason
	s.byID[j.Id].job(j, 1)
	return s.screen.String()
}

func TestEachOfAFewTargetsHasALineThatIsDrawnAgain(t *testing.T) {
	s := onTerminal(t, 3)
	require.Equal(t, "http://h/target-0/: note: of all of them\n", s.screen.String(), "said once")
	first := s.goes(t, 1, 7)
	lines := strings.Split(first, "\n")
	require.Len(t, lines, 4, first)
	require.True(t, strings.HasPrefix(lines[0], "http://h/target-0/: 0 changes"), first)
	require.True(t, strings.HasPrefix(lines[1], "http://h/target-1/: 14 changes, 86 pending, 7 docs written"), first)
	require.True(t, strings.HasPrefix(s.goes(t, 2, 9), "\x1b[3A\r\x1b[Jhttp://h/target-0/: "), "the picture of before goes first")

	// What happens to one stays, and the picture follows below it.
	failed := s.becomes(0, replication.Failed, "no such database")
	require.Equal(t, "\x1b[3A\r\x1b[Jhttp://h/target-0/: replication failed: no such database\n", failed)
	next := s.goes(t, 1, 8)
	require.True(t, strings.HasPrefix(next, "http://h/target-0/: failed\nhttp://h/target-1/: 16 changes"), next)
	s.becomes(1, replication.Completed, "")
	require.Contains(t, s.goes(t, 2, 10), "http://h/target-1/: completed\n")

	s.interrupted = true
	s.done()
	s.summary()
	require.Contains(t, s.summed.String(), "http://h/target-0/: replication failed: no such database\nhttp://h/target-1/: completed in ")
	require.Contains(t, s.summed.String(), ": 1 completed, 1 failed: docs_read 0, docs_written 18,")
	var code *exitError
	require.True(t, errors.As(s.verdict(), &code))
	require.Equal(t, exitFailed, code.code)
	require.EqualError(t, code, "1 of 3 targets failed")
}

func TestManyTargetsHaveOneLineTogether(t *testing.T) {
	s := onTerminal(t, fewTargets+1)
	s.goes(t, 0, 5)
	drawn := s.goes(t, 1, 7)
	require.Regexp(t, `^\x1b\[1A\r\x1b\[J9 targets, 0 completed, 12 docs written, \d+ docs/s, [^\n]*/s\n$`, drawn)
	s.becomes(3, replication.Failed, "no")
	require.Contains(t, s.goes(t, 1, 8), "9 targets, 0 completed, 1 failed, 13 docs written")
	s.summary()
	require.Contains(t, s.summed.String(), "http://h/target-3/: replication failed: no\n9 targets in ", "only what is wrong, and all together")
	require.NotContains(t, s.summed.String(), "target-0")
}

func TestReplicationThatStartsOverTakesThePlaceOfTheOneBefore(t *testing.T) {
	s := onTerminal(t, 2)
	s.goes(t, 0, 5)
	next := &millracev1.Job{Id: "next", ReplicationId: "new-id", Continuous: true, TargetUrl: s.jobs[0].TargetUrl, State: string(replication.Initializing)}
	s.screen.Reset()
	s.replace(s.courses[0], next)
	require.Contains(t, s.screen.String(), "http://h/target-0/: the filter function has changed: the replication starts over as new-id\n")
	// Whatever is still said of the other one is not shown.
	encoded, err := proto.Marshal(&millracev1.Status{Job: "job-0", Session: &millracev1.Counters{DocsWritten: 6}})
	require.NoError(t, err)
	require.Nil(t, s.status(encoded))
	s.jobs[0] = next
	require.Contains(t, s.goes(t, 0, 1), "http://h/target-0/: 2 changes, 98 pending, 1 docs written")
	s.interrupted = true
	require.NoError(t, s.verdict())
}

func TestJobWhoseFilterFunctionHasChangedIsTold(t *testing.T) {
	for state, want := range map[replication.State]bool{
		replication.Failed: true, replication.Crashing: true, replication.Running: false, replication.Completed: false,
	} {
		job := &millracev1.Job{State: string(state), Reason: "selector: filter: filter_changed: filters.f of _design/d is another function"}
		require.Equal(t, want, filterChanged(job), state)
		job.Reason = "selector: document \"filter_changed\": no"
		require.False(t, filterChanged(job), state)
	}
}
