package broker_test

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"
)

// member is a server of a cluster that can be stopped.
type member struct {
	name, url string
	stop      func()
}

// members are the servers of startCluster. They stop as one that is told to does: what
// they lead they hand over first.
func members(t *testing.T) []member {
	t.Helper()
	var all []member
	for _, s := range startCluster(t) {
		all = append(all, member{s.Name(), s.ClientURL(), func() { s.Shutdown(); s.WaitForShutdown() }})
	}
	return all
}

const memberEnv = "MILLRACE_TEST_NATS_MEMBER"

// memberConfig is what a server that is a process of its own is told.
type memberConfig struct {
	Name, Dir, Routes string
	Port, ClusterPort int
}

// processes is a cluster of three whose servers are processes: they stop by SIGKILL, in
// the middle of whatever they are doing.
func processes(t *testing.T) []member {
	t.Helper()
	var configs []memberConfig
	var routes string
	for i := range 3 {
		c := memberConfig{Name: fmt.Sprintf("p%d", i), Dir: t.TempDir(), Port: freePort(t), ClusterPort: freePort(t)}
		routes += fmt.Sprintf("nats://127.0.0.1:%d,", c.ClusterPort)
		configs = append(configs, c)
	}
	var all []member
	for _, c := range configs {
		c.Routes = routes[:len(routes)-1]
		all = append(all, startMember(t, c))
	}
	return all
}

func startMember(t *testing.T, c memberConfig) member {
	t.Helper()
	encoded, err := json.Marshal(c)
	require.NoError(t, err)
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), memberEnv+"="+string(encoded))
	process.Stderr = os.Stderr
	require.NoError(t, process.Start())
	killed := false
	stop := func() {
		if killed {
			return
		}
		killed = true
		_ = process.Process.Kill()
		_ = process.Wait() // says that it was killed
	}
	t.Cleanup(stop)
	url := fmt.Sprintf("nats://127.0.0.1:%d", c.Port)
	await(t, c.Name+" listens", func() bool {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", c.Port), time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return member{c.Name, url, stop}
}

// runMember is the main function of such a process. It ends with being killed, or with
// the test that has started it.
func runMember(config string) {
	var c memberConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		panic(err)
	}
	s, err := server.NewServer(&server.Options{
		ServerName: c.Name, Host: "127.0.0.1", Port: c.Port, JetStream: true, StoreDir: c.Dir,
		Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: c.ClusterPort},
		Routes:  server.RoutesFromStr(c.Routes), NoSigs: true, NoLog: true,
	})
	if err != nil {
		panic(err)
	}
	parent := os.Getppid()
	s.Start()
	for range time.Tick(time.Second) {
		if os.Getppid() != parent {
			os.Exit(1)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().(*net.TCPAddr).Port
}
