package crash

import (
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// wiping is a replication in whose middle the broker's disk is lost.
type wiping struct {
	pair
	cluster *program.Cluster
}

func newWiping(t *testing.T) *wiping {
	t.Helper()
	w := &wiping{pair{startServer(t, millpond.Options{}), startServer(t, millpond.Options{}), "wiped"}, nil}
	w.target.slow(t, chaosproxy.BulkDocs, 50*time.Millisecond)
	w.source.create(t, w.name)
	w.target.create(t, w.name)
	w.fill(t, documents, seed)
	w.cluster = program.StartCluster(t, program.ClusterOptions{})
	return w
}

// begin replicates until about half is written and a checkpoint covers something.
func (w *wiping) begin(t *testing.T) (*program.Replication, measure) {
	t.Helper()
	half := w.target.nth(chaosproxy.BulkDocs, w.name, documents/40/2)
	r := w.cluster.Replicate(w.args()...)
	await(t, "half of the writes", half)
	eventually(t, "a checkpoint that covers something", func() bool { return len(w.measure(t).covered) > 0 })
	return r, w.measure(t)
}

// again submits the replication once more and looks at what it did.
func (w *wiping) again(t *testing.T, before measure) {
	t.Helper()
	w.cluster.Replicate(w.args()...).Completed()
	w.same(t)
	before.judge(t, 0)
	if len(before.covered) == documents {
		t.Error("nothing was left to do when the disk was lost: the test says nothing")
	}
}

func TestLossOfTheBrokersDiskResumesFromTheDatabasesCheckpoints(t *testing.T) {
	t.Parallel()
	w := newWiping(t)
	client, before := w.begin(t)
	client.Kill()
	running := w.cluster.KillAll()
	w.cluster.WipeDisk()
	w.cluster.StartAll(running)
	w.again(t, before)
}

func TestServicesAndCommandsOutliveTheLossOfTheBrokersDisk(t *testing.T) {
	t.Parallel()
	w := newWiping(t)
	client, before := w.begin(t)
	w.cluster.Broker.Kill()
	w.cluster.WipeDisk()
	w.cluster.StartBroker()
	other := pair{w.source, w.target, "other"}
	other.source.create(t, other.name)
	other.target.create(t, other.name)
	other.fill(t, 200, seed)
	w.cluster.Replicate(other.args()...).Completed()
	other.same(t)
	// The command submits its job again.
	client.Completed()
	w.same(t)
	before.judge(t, 0)
}
