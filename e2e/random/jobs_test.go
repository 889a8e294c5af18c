package random

import (
	"testing"

	"millrace/e2e/program"
	"pgregory.net/rapid"
)

// jobs are the two continuous replications of a run.
type jobs interface {
	// kill kills something (SIGKILL) and starts it again.
	kill(t *rapid.T)
	// stop ends the replications.
	stop()
}

// args are what a replication is told: small batches and checkpoints often, so that
// a short run has a long history, and little patience with servers that hang.
func args(from, to *side) []string {
	return []string{
		from.via(), to.via(), "--continuous", "--retries", "0", "--batch-size", "20",
		"--checkpoint-interval", "500ms", "--connection-timeout", "3s", "--stall-interval", "2s",
	}
}

// alone are two replications that are a process each.
type alone struct {
	t    *testing.T
	args [2][]string
	runs [2]*program.Replication
}

func startAlone(t *testing.T, a, b *side) *alone {
	r := &alone{t: t}
	for i, pair := range [2][2]*side{{a, b}, {b, a}} {
		r.args[i] = append(args(pair[0], pair[1]), "--data", t.TempDir())
		r.runs[i] = program.Replicate(t, r.args[i]...)
	}
	return r
}

func (r *alone) kill(t *rapid.T) {
	i := rapid.IntRange(0, 1).Draw(t, "process")
	r.runs[i].Kill()
	r.runs[i] = program.Replicate(r.t, r.args[i]...)
}

func (r *alone) stop() {
	for _, run := range r.runs {
		run.Interrupt()
	}
}

// together are two replications of one cluster.
type together struct {
	cluster *program.Cluster
	runs    [2]*program.Replication
}

func startTogether(c *program.Cluster, a, b *side) *together {
	return &together{c, [2]*program.Replication{c.Replicate(args(a, b)...), c.Replicate(args(b, a)...)}}
}

func (r *together) kill(t *rapid.T) {
	services := program.Services()
	if i := rapid.IntRange(0, len(services)).Draw(t, "service"); i < len(services) {
		r.cluster.Replace(services[i])
		return
	}
	r.cluster.StartAll(r.cluster.KillAll())
}

func (r *together) stop() {
	for _, run := range r.runs {
		run.Interrupt()
	}
}
