package crash

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

const (
	brokerProcess = "broker"
	// documents of the one-shot replication of each run.
	documents = 2000
	// inHand bounds what may be copied again although a checkpoint covered it: its
	// acknowledgement was under way. Each stage works on four batches of a job.
	inHand = 4 * 40
	// waiting bounds what may be copied again of what no checkpoint covered: what was in
	// hand, and what waited at one stage (8 batches of a job, those in hand included).
	waiting = inHand + 8*40
)

// victims are whom a run kills: each process alone in turn, and every eighth time
// all of them.
func victims(run int) []string {
	everybody := append(program.Services(), brokerProcess)
	if turn := run % (len(everybody) + 1); turn > 0 {
		return everybody[turn-1 : turn]
	}
	return everybody
}

func TestKilledProcessesLoseNothingAndCopyNothingTwice(t *testing.T) {
	t.Parallel()
	source, target := startServer(t, millpond.Options{}), startServer(t, millpond.Options{})
	target.slow(t, chaosproxy.BulkDocs, 50*time.Millisecond)
	cluster := program.StartCluster(t, program.ClusterOptions{})
	for run := range runs {
		t.Run(fmt.Sprintf("run %d", run), func(t *testing.T) {
			k := &killing{
				cluster: cluster, seed: seed + uint64(run), victims: victims(run + int(seed%8)),
				once: pair{source, target, fmt.Sprintf("once-%d", run)},
				live: pair{source, target, fmt.Sprintf("live-%d", run)},
			}
			k.run(t)
		})
		if t.Failed() {
			return // what follows would only tell of the same
		}
	}
}

// killing is one run: a one-shot and a continuous replication, and a kill.
type killing struct {
	cluster    *program.Cluster
	seed       uint64
	victims    []string
	once, live pair
}

func (k *killing) run(t *testing.T) {
	chance := rand.New(rand.NewPCG(k.seed, 0))
	at := 1 + chance.IntN(documents/40*9/10)
	t.Logf("-seed %d: %v killed at write %d", k.seed, k.victims, at)
	for _, p := range []pair{k.once, k.live} {
		p.source.create(t, p.name)
		p.target.create(t, p.name)
	}
	k.once.fill(t, documents, k.seed)
	moment := k.once.target.nth(chaosproxy.BulkDocs, k.once.name, at)

	edits := k.live.edit(t, k.seed)
	live := k.cluster.Replicate(k.live.args("--continuous")...)
	once := k.cluster.Replicate(k.once.args()...)
	await(t, "the write at which to kill", moment)

	before := []measure{k.once.measure(t), k.live.measure(t)}
	k.kill()
	summary := once.Completed()
	done := edits.stop(t)
	k.once.same(t)
	k.live.same(t)
	live.Interrupt()

	t.Logf("one-shot counted %+v; %d edits", summary.Counters, done.Total())
	for _, m := range before {
		m.judge(t, inHand)
	}
	if n := again(k.once.source.reads(k.once.name)); n > waiting {
		t.Errorf("%d of %d documents were read again; at most %d can have been under way", n, documents, waiting)
	}
}

// kill kills the victims, all of them before the first comes back.
func (k *killing) kill() {
	for _, name := range k.victims {
		if name == brokerProcess {
			k.cluster.Broker.Kill()
			continue
		}
		for _, p := range k.cluster.Instances(name) {
			p.Kill()
		}
	}
	for _, name := range k.victims {
		if name == brokerProcess {
			k.cluster.StartBroker()
			continue
		}
		k.cluster.Add(name)
	}
}
