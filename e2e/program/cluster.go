package program

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// ClusterOptions say what a cluster consists of.
type ClusterOptions struct {
	// Instances is how many processes of each service run. Default: 1.
	Instances int
	// Without are services of which none is started.
	Without []string
	// Env are variables (NAME=value) for all processes.
	Env []string
	// LogLevel of all processes. Default: info.
	LogLevel string
}

// Cluster is the pipeline as people run it: a broker and the services, each a
// process of its own. It is for one goroutine.
type Cluster struct {
	// URL is where the broker takes clients.
	URL string
	// Broker is the process of the broker that runs, or ran last.
	Broker *Process

	t         testing.TB
	options   ClusterOptions
	dir       string // the broker's disk
	uuid      string // a file's directory, kept when the broker's disk is not
	instances map[string][]*Process
}

// StartCluster starts a cluster and waits until its broker is there; services wait
// for it by themselves.
func StartCluster(t testing.TB, o ClusterOptions) *Cluster {
	t.Helper()
	c := &Cluster{
		t: t, options: o, dir: filepath.Join(t.TempDir(), "broker"), uuid: t.TempDir(),
		instances: make(map[string][]*Process),
	}
	c.StartBroker()
	for _, name := range Services() {
		if slices.Contains(o.Without, name) {
			continue
		}
		for range max(1, o.Instances) {
			c.Add(name)
		}
	}
	return c
}

// StartBroker starts the broker: on a free port the first time and on the same port
// and disk after that. The one before has to be gone.
func (c *Cluster) StartBroker() *Process {
	c.t.Helper()
	listen := "127.0.0.1:0"
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		if err != nil {
			c.t.Fatalf("the broker's URL: %v", err)
		}
		listen = u.Host
	}
	c.Broker = Start(c.t, Millrace, append([]string{"broker", "--listen", listen, "--data", c.dir}, c.logLevel()...), c.options.Env...)
	c.URL = c.Broker.WaitLine(c.Broker.Stdout, func(string) bool { return true })
	return c.Broker
}

// Add starts one more instance of a service, with these arguments besides those that all have.
func (c *Cluster) Add(name string, args ...string) *Process {
	c.t.Helper()
	p := Start(c.t, name, append(append([]string{"--nats", c.URL}, c.logLevel()...), args...), c.options.Env...)
	c.instances[name] = append(c.instances[name], p)
	return p
}

// Instances returns the processes of a service that run.
func (c *Cluster) Instances(name string) []*Process {
	return slices.DeleteFunc(slices.Clone(c.instances[name]), func(p *Process) bool { return !p.Running() })
}

// Replace kills all instances of a service (SIGKILL) and starts as many anew.
func (c *Cluster) Replace(name string) {
	c.t.Helper()
	for _, p := range c.Instances(name) {
		p.Kill()
		c.Add(name)
	}
}

// KillAll kills every process of the cluster, the broker first, and returns how
// many instances of each service there were.
func (c *Cluster) KillAll() map[string]int {
	c.t.Helper()
	c.Broker.Kill()
	killed := make(map[string]int)
	for _, name := range Services() {
		for _, p := range c.Instances(name) {
			p.Kill()
			killed[name]++
		}
	}
	return killed
}

// StartAll starts the broker and these numbers of instances, after a KillAll.
func (c *Cluster) StartAll(instances map[string]int) {
	c.t.Helper()
	c.StartBroker()
	for _, name := range Services() {
		for range instances[name] {
			c.Add(name)
		}
	}
}

// WipeDisk removes everything that the broker has stored. It must not be running.
func (c *Cluster) WipeDisk() {
	c.t.Helper()
	if err := os.RemoveAll(c.dir); err != nil {
		c.t.Fatalf("wipe the broker's disk: %v", err)
	}
}

// Replicate runs millrace replicate --json on this cluster. All replications of a
// cluster have the same server UUID, so that they find each other's checkpoints,
// the broker's disk wiped or not.
func (c *Cluster) Replicate(args ...string) *Replication {
	c.t.Helper()
	return Replicate(c.t, append([]string{"--nats", c.URL, "--data", c.uuid}, args...)...)
}

func (c *Cluster) logLevel() []string {
	if c.options.LogLevel == "" {
		return nil
	}
	return []string{"--log-level", c.options.LogLevel}
}
