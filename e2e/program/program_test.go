package program_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"millrace/e2e/compare"
	"millrace/e2e/dataset"
	"millrace/e2e/peer"
	"millrace/e2e/program"
)

func TestMain(m *testing.M) { peer.Main(m) }

// filled returns a database on a millpond with n documents, and an empty one.
func filled(t *testing.T, n int) (source, target string, pair peer.Pair) {
	t.Helper()
	server := peer.OfKind(t, peer.Millpond)[0]
	pair = peer.Pair{Source: server, Target: server}
	source, target = pair.NewDBs(t)
	if err := dataset.Bulk(n, 300)(t.Context(), source, pair.Shared(), 1); err != nil {
		t.Fatal(err)
	}
	return source, target, pair
}

func TestReplicateRunsToItsEnd(t *testing.T) {
	source, target, pair := filled(t, 100)
	if summary := program.Replicate(t, source, target).Completed(); summary.DocsWritten != 100 || !summary.OK {
		t.Errorf("summary: %+v", summary)
	}
	compare.Require(t, source, target, compare.For(pair))
}

func TestClusterReplicates(t *testing.T) {
	source, target, pair := filled(t, 100)
	c := program.StartCluster(t, program.ClusterOptions{Instances: 2})
	if summary := c.Replicate(source, target).Completed(); summary.DocsWritten != 100 || !summary.OK {
		t.Errorf("summary: %+v", summary)
	}
	compare.Require(t, source, target, compare.For(pair))
	for _, name := range program.Services() {
		if got := len(c.Instances(name)); got != 2 {
			t.Errorf("%d instances of %s run", got, name)
		}
	}
}

func TestClusterComesBackOnItsPortAndDisk(t *testing.T) {
	source, target, _ := filled(t, 100)
	c := program.StartCluster(t, program.ClusterOptions{})
	c.Replicate(source, target).Completed()
	url := c.URL
	killed := c.KillAll()
	c.StartAll(killed)
	if c.URL != url {
		t.Errorf("the broker moved from %s to %s", url, c.URL)
	}
	if summary := c.Replicate(source, target).Completed(); summary.DocsWritten != 0 {
		t.Errorf("%d documents were written again", summary.DocsWritten)
	}
}

func TestProcessesEndAsTheyAreTold(t *testing.T) {
	c := program.StartCluster(t, program.ClusterOptions{Without: []string{program.Selector}})
	for _, name := range program.Services() {
		for _, p := range c.Instances(name) {
			if name == program.Selector {
				t.Error("the selector runs")
			}
			p.WaitLine(p.Stderr, func(line string) bool { return strings.Contains(line, "running") })
			p.Signal(syscall.SIGSTOP)
			p.Signal(syscall.SIGCONT)
			if code := p.Stop(); code != program.ExitOK {
				t.Errorf("%s exited with %d after SIGTERM", name, code)
			}
		}
	}
	if code := c.Broker.Interrupt(); code != program.ExitOK {
		t.Errorf("the broker exited with %d after SIGINT", code)
	}
	other := program.Start(t, program.Millrace, []string{"broker", "--listen", "127.0.0.1:0", "--data", t.TempDir()})
	other.Kill()
	if code := other.Wait(); code != program.Killed {
		t.Errorf("a killed process has the exit code %d", code)
	}
}

func TestProgramsInheritNoSettings(t *testing.T) {
	t.Setenv("MILLRACE_NATS", "nats://127.0.0.1:1")
	source, target, _ := filled(t, 1)
	program.Replicate(t, source, target).Completed()
}

func TestWrongCommandLineIsSaid(t *testing.T) {
	p := program.Start(t, program.Millrace, []string{"replicate", "only-one"})
	if code := p.Wait(); code != program.ExitUsage {
		t.Errorf("exit code %d", code)
	}
	if !slices.ContainsFunc(p.Stderr.Lines(), func(line string) bool { return strings.Contains(line, "expected SOURCE and TARGET") }) {
		t.Errorf("stderr: %s", p.Stderr)
	}
}
