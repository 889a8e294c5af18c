package random

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"millrace/e2e/program"
)

// jobs are the two continuous replications of a run: 0 from a to b, 1 from b to a.
type jobs interface {
	// kill kills something (SIGKILL) and starts it again.
	kill(t *rapid.T)
	// failures runs millrace failures about one of them.
	failures(t fataler, direction int, args ...string) []failure
	// stop ends the replications.
	stop()
}

// failure is a line of millrace failures --json.
type failure struct {
	Type   string `json:"type"`
	ID     string `json:"id"`
	Rev    string `json:"rev"`
	Status int    `json:"status"`
	Reason string `json:"reason"`
}

// args are what a replication is told.
func args(from, to *side) []string {
	return append([]string{from.via(), to.via(), "--continuous"}, tuning()...)
}

// tuning is small batches and checkpoints often, so that a short run has a long history, and little
// patience with servers that hang.
func tuning() []string {
	return []string{
		"--retries", "0", "--batch-size", "20",
		"--checkpoint-interval", "500ms", "--connection-timeout", "3s", "--stall-interval", "2s",
	}
}

// failuresOf runs millrace failures. A replay may find revisions that are gone, or
// refused still: that is said in its exit code, and judged by what the databases
// hold.
func failuresOf(test *testing.T, t fataler, run *program.Replication, place []string, args []string) []failure {
	id := run.Until(func(program.Event) bool { return true }).ReplicationID
	line := append([]string{"failures", "--json"}, place...)
	if len(args) > 0 {
		line = append(line, args[0], id)
		line = append(line, args[1:]...)
	} else {
		line = append(line, id)
	}
	p := program.Start(test, program.Millrace, line)
	if code := p.Wait(); code != program.ExitOK && code != program.ExitRejected {
		t.Fatalf("millrace %v ended with %d:\n%s%s", line, code, p.Stdout, p.Stderr)
	}
	var all []failure
	for _, text := range p.Stdout.Lines() {
		var f failure
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			t.Fatalf("millrace %v printed %q: %v", line, text, err)
		}
		all = append(all, f)
	}
	return all
}

// alone are two replications that are a process each.
type alone struct {
	t    *testing.T
	data [2]string
	args [2][]string
	runs [2]*program.Replication
}

func startAlone(t *testing.T, a, b *side) *alone {
	r := &alone{t: t}
	for i, pair := range [2][2]*side{{a, b}, {b, a}} {
		r.data[i] = t.TempDir()
		r.args[i] = append(args(pair[0], pair[1]), "--data", r.data[i])
		r.runs[i] = program.Replicate(t, r.args[i]...)
	}
	return r
}

func (r *alone) kill(t *rapid.T) {
	i := rapid.IntRange(0, 1).Draw(t, "process")
	r.runs[i].Kill()
	r.runs[i] = program.Replicate(r.t, r.args[i]...)
}

func (r *alone) failures(t fataler, direction int, args ...string) []failure {
	return failuresOf(r.t, t, r.runs[direction], []string{"--data", r.data[direction]}, args)
}

func (r *alone) stop() {
	for _, run := range r.runs {
		run.Interrupt()
	}
}

// together are two replications of one cluster.
type together struct {
	t       *testing.T
	cluster *program.Cluster
	runs    [2]*program.Replication
}

func startTogether(t *testing.T, c *program.Cluster, a, b *side) *together {
	return &together{t, c, [2]*program.Replication{c.Replicate(args(a, b)...), c.Replicate(args(b, a)...)}}
}

func (r *together) kill(t *rapid.T) {
	services := program.Services()
	if i := rapid.IntRange(0, len(services)).Draw(t, "service"); i < len(services) {
		r.cluster.Replace(services[i])
		return
	}
	r.cluster.StartAll(r.cluster.KillAll())
}

func (r *together) failures(t fataler, direction int, args ...string) []failure {
	return failuresOf(r.t, t, r.runs[direction], []string{"--nats", r.cluster.URL}, args)
}

func (r *together) stop() {
	for _, run := range r.runs {
		run.Interrupt()
	}
}
