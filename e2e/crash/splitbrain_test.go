package crash

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
	"millrace/pkg/broker"
	"millrace/pkg/millpond"
)

// splitting is a replication with edits, on a cluster whose owners are stopped and woken.
type splitting struct {
	pair
	cluster *program.Cluster
	edits   *edits
	client  *program.Replication
}

func newSplitting(t *testing.T) *splitting {
	t.Helper()
	s := &splitting{pair: pair{startServer(t, millpond.Options{}), startServer(t, millpond.Options{}), "split"}}
	s.source.create(t, s.name)
	s.target.create(t, s.name)
	s.fill(t, 500, seed)
	s.cluster = program.StartCluster(t, program.ClusterOptions{})
	s.edits = s.edit(t, seed)
	s.client = s.cluster.Replicate(s.args("--continuous")...)
	await(t, "writes", s.target.nth(chaosproxy.BulkDocs, s.name, 20))
	return s
}

// finish ends the edits and looks at the outcome.
func (s *splitting) finish(t *testing.T) {
	t.Helper()
	done := s.edits.stop(t)
	s.same(t)
	s.client.Interrupt()
	t.Logf("%d edits; %d revisions read again", done.Total(), again(s.source.reads(s.name)))
}

func TestReaderThatWakesAfterItsLeaseDoesNoHarm(t *testing.T) {
	t.Parallel()
	s := newSplitting(t)
	old := s.cluster.Instances(program.ChangesReader)[0]
	old.Signal(syscall.SIGSTOP)
	reading := s.source.nth(chaosproxy.Changes, s.name, 1)
	s.cluster.Add(program.ChangesReader)
	await(t, "another reader", reading)
	await(t, "writes of what it read", s.target.nth(chaosproxy.BulkDocs, s.name, 20))
	old.Signal(syscall.SIGCONT)
	await(t, "writes after the old reader has woken", s.target.nth(chaosproxy.BulkDocs, s.name, 20))
	done := s.edits.stop(t)
	s.same(t)
	s.dense(t)
	s.client.Interrupt()
	t.Logf("%d edits", done.Total())
}

// dense looks at the feed's log: ordinals without a hole and without a repetition,
// and no owner after a later one.
func (s *splitting) dense(t *testing.T) {
	t.Helper()
	ctx := within(t)
	b, err := broker.Connect(ctx, broker.Options{URL: s.cluster.URL, Name: "crash test"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(context.WithoutCancel(ctx)) //nolint:errcheck // it was read only
	stream, batches := b.Streams().Changes, b.Subjects().Changes(broker.Any)
	last, err := b.Last(ctx, stream, batches)
	if err != nil {
		t.Fatal(err)
	}
	log, err := b.Follow(ctx, stream, batches, 0, broker.LogOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close() //nolint:errcheck // it was read only
	var epochs []uint64
	for ordinal := uint64(1); ; ordinal++ {
		e, err := log.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := header(t, e, broker.HeaderOrdinal); got != ordinal {
			t.Fatalf("batch %d stands where %d should", got, ordinal)
		}
		if epoch := header(t, e, broker.HeaderEpoch); len(epochs) == 0 || epoch != epochs[len(epochs)-1] {
			epochs = append(epochs, epoch)
		}
		if e.Sequence >= last.Sequence {
			t.Logf("%d batches in epochs %v", ordinal, epochs)
			break
		}
	}
	if len(epochs) != 2 || epochs[0] >= epochs[1] {
		t.Errorf("epochs of the batches: %v, not two that ascend", epochs)
	}
}

func header(t *testing.T, e broker.Entry, name string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(e.Header.Get(name), 10, 64)
	if err != nil {
		t.Fatalf("%s of entry %d: %v", name, e.Sequence, err)
	}
	return n
}

func TestReplicatorThatWakesAfterItsLeaseWritesNoCheckpoint(t *testing.T) {
	t.Parallel()
	s := newSplitting(t)
	old := s.cluster.Instances(program.Replicator)[0]
	await(t, "a checkpoint", s.target.nth(chaosproxy.Local, s.name, 2))
	old.Signal(syscall.SIGSTOP)
	heir := s.cluster.Add(program.Replicator)
	heir.WaitLine(heir.Stderr, func(line string) bool { return strings.Contains(line, "run begins") })
	await(t, "checkpoints of the new owner", s.target.nth(chaosproxy.Local, s.name, 6))
	old.Signal(syscall.SIGCONT)
	old.WaitLine(old.Stderr, gaveUp)
	await(t, "more checkpoints", s.target.nth(chaosproxy.Local, s.name, 6))
	done := s.edits.stop(t)
	s.same(t)
	s.client.Interrupt()
	t.Logf("%d edits", done.Total())
	// Both owners are in the same run, so that no session tells them apart: a
	// checkpoint of the old one would be one that goes back.
	for _, side := range []*server{s.source, s.target} {
		ascending(t, side.checkpointsOf(s.name))
	}
}

// gaveUp picks the lines in which a replicator says that it does not own a job any more.
func gaveUp(line string) bool {
	return strings.Contains(line, "job changed hands") || strings.Contains(line, "job cannot be run now")
}

// ascending looks for checkpoints that go back behind an earlier one.
func ascending(t *testing.T, written []checkpoint) {
	t.Helper()
	last := 0
	for i, c := range written {
		var n int
		if _, err := fmt.Sscanf(strings.Trim(string(c.Seq), `"`), "%d", &n); err != nil {
			t.Fatalf("checkpoint %d: seq %s: %v", i, c.Seq, err)
		}
		if n < last {
			t.Errorf("checkpoint %d of %d: seq %d after %d", i, len(written), n, last)
		}
		last = n
	}
	t.Logf("%d checkpoints, up to seq %d", len(written), last)
}

func TestTwoInstancesOfEverythingDoTheWorkOnce(t *testing.T) {
	t.Parallel()
	p := pair{startServer(t, millpond.Options{}), startServer(t, millpond.Options{}), "twice"}
	p.source.create(t, p.name)
	p.target.create(t, p.name)
	p.fill(t, documents, seed)
	cluster := program.StartCluster(t, program.ClusterOptions{Instances: 2})
	got := cluster.Replicate(p.args()...).Completed()
	p.same(t)
	if got.Totals.DocsRead != documents || got.Totals.DocsWritten != documents || got.Totals.DocWriteFailures != 0 {
		t.Errorf("counted %+v", got.Totals)
	}
	if reads, writes := again(p.source.reads(p.name)), again(p.target.writes(p.name)); reads+writes > 0 {
		t.Errorf("%d revisions were read again, %d written again", reads, writes)
	}
}

func TestBrokerThatIsAwayIsWaitedFor(t *testing.T) {
	t.Parallel()
	for name, trouble := range map[string]struct{ away, back func(*program.Cluster) }{
		"killed":  {func(c *program.Cluster) { c.Broker.Kill() }, func(c *program.Cluster) { c.StartBroker() }},
		"stopped": {func(c *program.Cluster) { c.Broker.Signal(syscall.SIGSTOP) }, func(c *program.Cluster) { c.Broker.Signal(syscall.SIGCONT) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSplitting(t)
			replicator := s.cluster.Instances(program.Replicator)[0]
			trouble.away(s.cluster)
			// Away for longer than leases last: the job's owner has given up.
			replicator.WaitLine(replicator.Stderr, gaveUp)
			trouble.back(s.cluster)
			await(t, "writes", s.target.nth(chaosproxy.BulkDocs, s.name, 20))
			s.finish(t)
		})
	}
}
