package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"millrace/pkg/failures"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/millrace/node"
)

// place is where jobs run: a broker that is named, or the data directory of one in a process.
type place struct {
	dir      string // empty for the broker that the configuration names
	uuidFile string
}

func (p place) String() string {
	if p.dir == "" {
		return "the broker"
	}
	return p.dir
}

// recordedJob is a job that has, or may have, rejected documents.
type recordedJob struct {
	ID            string `json:"job"`
	ReplicationID string `json:"replication_id"`
	Source        string `json:"source"`
	Target        string `json:"target"`
	// Failures is how many records there are.
	Failures uint64 `json:"failures,omitempty"`
	// State is CouchDB's word; empty for a job that is no more.
	State string `json:"state,omitempty"`

	job *millracev1.Job
}

// named reports whether the argument means this job: exactly, or by how its ids begin.
func (j *recordedJob) named(arg string) (exactly, begins bool) {
	if j.ID == arg || j.ReplicationID == arg {
		return true, true
	}
	return false, strings.HasPrefix(j.ID, arg) || j.ReplicationID != "" && strings.HasPrefix(j.ReplicationID, arg)
}

// places are all places where there may be jobs.
func (f *failuresFlags) places() ([]place, error) {
	if err := f.config.Check(); err != nil {
		return nil, usageError(err)
	}
	dir, err := stateDir(f.data)
	if err != nil {
		return nil, usageError(err)
	}
	uuid := filepath.Join(dir, "uuid")
	if f.config.NATS != "" {
		return []place{{uuidFile: uuid}}, nil
	}
	found := []string{filepath.Join(dir, "serve")}
	pairs, err := filepath.Glob(filepath.Join(replicateDir(dir), "*"))
	if err != nil {
		return nil, failedError(err)
	}
	var all []place
	for _, d := range append(found, pairs...) {
		if _, err := os.Stat(filepath.Join(d, "nats")); err == nil {
			all = append(all, place{d, uuid})
		}
	}
	return all, nil
}

// find finds the job that an argument names. Data directories that say which jobs they
// have are looked at first: opening one takes a part of a second.
func (f *failuresFlags) find(cmd *cobra.Command, places []place, name string) (place, *recordedJob, error) {
	var m match
	var unlisted []place
	for _, p := range places {
		jobs, err := listed(p.dir)
		if err != nil {
			unlisted = append(unlisted, p)
			continue
		}
		m.look(p, jobs, name)
	}
	for _, p := range unlisted {
		if len(m.exact) > 0 {
			break
		}
		err := f.visit(cmd, p, func(n *node.Node, s *failures.Store) error {
			jobs, err := jobsAt(cmd.Context(), n, s)
			m.look(p, jobs, name)
			return failedOrInterrupted(cmd.Context(), err)
		})
		if err != nil {
			return place{}, nil, err
		}
	}
	return m.one(name)
}

// match is what an argument may mean.
type match struct{ exact, begin []candidate }

type candidate struct {
	place place
	job   *recordedJob
}

func (m *match) look(p place, jobs []*recordedJob, name string) {
	for _, j := range jobs {
		exactly, begins := j.named(name)
		switch {
		case exactly:
			m.exact = append(m.exact, candidate{p, j})
		case begins:
			m.begin = append(m.begin, candidate{p, j})
		}
	}
}

func (m *match) one(name string) (place, *recordedJob, error) {
	all := m.exact
	if len(all) == 0 {
		all = m.begin
	}
	switch len(all) {
	case 0:
		return place{}, nil, failedError(fmt.Errorf("no job %q; millrace failures lists those that have rejected documents", name))
	case 1:
		return all[0].place, all[0].job, nil
	}
	var names []string
	for _, c := range all {
		names = append(names, c.job.ReplicationID)
	}
	slices.Sort(names)
	return place{}, nil, usageError(fmt.Errorf("%q is not the beginning of one job's id alone: %s", name, strings.Join(names, ", ")))
}

// jobsAt are the jobs that are at a place, and those that have been and left records.
func jobsAt(ctx context.Context, n *node.Node, s *failures.Store) ([]*recordedJob, error) {
	jobs, err := n.Jobs().List(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, j := range jobs {
		ids = append(ids, j.ID)
	}
	counts, err := s.Jobs(ctx, ids)
	if err != nil {
		return nil, err
	}
	var all []*recordedJob
	for _, j := range jobs {
		r := recordedOf(j.Value)
		r.Failures = counts[j.ID]
		delete(counts, j.ID)
		all = append(all, r)
	}
	for id, count := range counts {
		all = append(all, &recordedJob{ID: id, Failures: count})
	}
	slices.SortFunc(all, func(a, b *recordedJob) int {
		return strings.Compare(a.ReplicationID+" "+a.ID, b.ReplicationID+" "+b.ID)
	})
	return all, nil
}

func recordedOf(j *millracev1.Job) *recordedJob {
	return &recordedJob{
		ID: j.Id, ReplicationID: j.ReplicationId, State: j.State, job: j,
		Source: telemetry.Redact(j.SourceUrl), Target: telemetry.Redact(j.TargetUrl),
	}
}

// jobsFile says, in a data directory, which jobs it has: so that it need not be opened to find one.
const jobsFile = "jobs.json"

// listed are the jobs that a data directory says it has.
func listed(dir string) ([]*recordedJob, error) {
	if dir == "" {
		return nil, errors.New("a broker has no list")
	}
	content, err := os.ReadFile(filepath.Join(dir, jobsFile))
	if err != nil {
		return nil, err
	}
	var jobs []*recordedJob
	return jobs, json.Unmarshal(content, &jobs)
}

// list adds jobs to those that the data directory says it has. Whoever does has the directory.
func list(dir string, added []*millracev1.Job) error {
	jobs, err := listed(dir)
	if err != nil {
		jobs = nil // there is none yet, or a damaged one
	}
	are := make(map[string]bool, len(added))
	for _, job := range added {
		are[job.Id] = true
	}
	jobs = slices.DeleteFunc(jobs, func(j *recordedJob) bool { return j == nil || are[j.ID] })
	for _, job := range added {
		r := recordedOf(job)
		r.State = ""
		jobs = append(jobs, r)
	}
	content, err := json.Marshal(jobs)
	if err != nil {
		return err
	}
	path := filepath.Join(dir, jobsFile)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
