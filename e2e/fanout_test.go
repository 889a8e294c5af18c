package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/dataset"
	"millrace/e2e/peer"
	"millrace/e2e/program"
	"millrace/pkg/broker"
)

// fanOut is a source and several targets, all empty.
type fanOut struct {
	scenario
	targets []string
}

// fansOut makes as many targets beside those of a scenario.
func (s scenario) fansOut(targets int) fanOut {
	s.Helper()
	f := fanOut{scenario: s}
	for range targets {
		f.targets = append(f.targets, s.pair.Target.NewDB(s.T))
	}
	return f
}

// to is the scenario with another target.
func (s scenario) to(target string) scenario {
	s.target = target
	return s
}

// document writes a replication document with these fields beside the databases; terms are what else an
// entry of targets says. It returns its file.
func (f fanOut) document(fields string, terms func(i int) string) string {
	f.Helper()
	var targets []any
	for i, target := range f.targets {
		if terms == nil {
			targets = append(targets, target)
			continue
		}
		targets = append(targets, json.RawMessage(withFields(map[string]any{"target": target}, terms(i))))
	}
	file := filepath.Join(f.TempDir(), "replication.json")
	text := withFields(map[string]any{"source": f.source, "targets": targets}, fields)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
	return file
}

// cost is what replications make of the source and of the broker.
type cost struct {
	// requests that read the source, and bytes that it answered.
	requests, bytes int64
	// messages of documents' bodies in the broker, and their bytes.
	messages, stored int64
	// asked is how often else the source was asked: what each job wants to know of it, and its checkpoints.
	asked int64
}

// costOf replicates the source to n targets at once, by the services of a cluster.
func (s scenario) costOf(n int) (c cost) {
	s.Helper()
	f := s.fansOut(n)
	proxy := through(s.T, &f.source)
	// How much is pending is asked once a job.
	pending := proxy.Add(chaosproxy.Rule{Match: func(r *http.Request) bool { return r.URL.Query().Get("limit") == "0" }})
	// Of nothing that stood in the broker before anything may be left over.
	cluster := program.StartCluster(s.T, program.ClusterOptions{})
	r := cluster.Replicate("--continuous", "--document", f.document(`"worker_batch_size":50`, nil))
	for i := range f.targets {
		to := s.to(f.targets[i])
		to.settled()
		if i == 0 {
			to.same()
		}
	}
	for kind, count := range proxy.Counts() {
		switch kind {
		case chaosproxy.Changes, chaosproxy.BulkGet, chaosproxy.Document, chaosproxy.Attachment:
			c.requests, c.bytes = c.requests+int64(count.Requests), c.bytes+count.AnswerBytes
		default:
			c.asked += int64(count.Requests)
		}
	}
	c.requests, c.asked = c.requests-int64(pending.Hits()), c.asked+int64(pending.Hits())
	c.messages, c.stored = bodiesOf(s.T, cluster)
	r.Interrupt()
	s.Logf("%d targets: %+v", n, c)
	return c
}

// bodiesOf is how many messages of documents' bodies stand in a cluster's broker, and their bytes.
func bodiesOf(t *testing.T, cluster *program.Cluster) (messages, bytes int64) {
	t.Helper()
	b, err := broker.Connect(t.Context(), broker.Options{URL: cluster.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close(t.Context()) //nolint:errcheck // it only looked
	bodies, err := b.JetStream().Stream(t.Context(), b.Streams().Bodies)
	if err != nil {
		t.Fatal(err)
	}
	return int64(bodies.CachedInfo().State.Msgs), int64(bodies.CachedInfo().State.Bytes)
}

// Invariant 4: what a source serves, and what crosses the broker of it, does not grow with its targets. What
// each job asks for itself is a few small requests.
func TestSourceOfManyTargetsIsReadOnce(t *testing.T) {
	servers := peer.All(t)
	for _, server := range servers {
		if server.Kind == peer.PouchDB {
			continue // it takes minutes to make 85 databases
		}
		t.Run(server.Name, func(t *testing.T) {
			s := between(t, peer.Pair{Source: server, Target: server})
			s.fill(dataset.Bulk(400, 300))
			s.edit(s.source, "edited-", 150, 1)
			one := s.costOf(1)
			for _, n := range []int{4, 16, 64} {
				many := s.costOf(n)
				for what, c := range map[string][2]int64{
					"requests":               {one.requests, many.requests},
					"bytes from the source":  {one.bytes, many.bytes},
					"messages in the broker": {one.messages, many.messages},
					"bytes in the broker":    {one.stored, many.stored},
				} {
					if c[1]*100 > c[0]*105 {
						t.Errorf("%s: %d for one target, %d for %d", what, c[0], c[1], n)
					}
				}
				if one.stored == 0 || one.requests == 0 {
					t.Errorf("nothing was counted: %+v", one)
				}
				if each := many.asked / int64(n); each > 16 {
					t.Errorf("each of %d jobs asked the source %d times", n, each)
				}
			}
		})
	}
}
