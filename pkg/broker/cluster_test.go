package broker_test

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// startCluster runs three servers in this process, on loopback and free ports.
func startCluster(t *testing.T) []*server.Server {
	t.Helper()
	var servers []*server.Server
	var routes string
	for i := range 3 {
		o := &server.Options{
			ServerName: fmt.Sprintf("n%d", i),
			Host:       "127.0.0.1", Port: server.RANDOM_PORT,
			JetStream: true, StoreDir: t.TempDir(),
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: server.RANDOM_PORT},
			Routes:  server.RoutesFromStr(routes),
			NoSigs:  true, NoLog: true,
		}
		s, err := server.NewServer(o)
		require.NoError(t, err)
		s.Start()
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		require.True(t, s.ReadyForConnections(patience))
		if routes != "" {
			routes += ","
		}
		routes += fmt.Sprintf("nats://%s", s.ClusterAddr())
		servers = append(servers, s)
	}
	await(t, "the cluster has a leader", func() bool {
		for _, s := range servers {
			if s.JetStreamIsLeader() {
				return len(s.JetStreamClusterPeers()) == len(servers)
			}
		}
		return false
	})
	return servers
}

// onEachKind runs a test on one embedded server and on a cluster of three with
// three replicas: what is critical must hold on both.
func onEachKind(t *testing.T, limits broker.Limits, test func(t *testing.T, connect func() *broker.Broker)) {
	t.Run("embedded", func(t *testing.T) {
		e := startEmbedded(t, broker.EmbeddedOptions{})
		test(t, func() *broker.Broker { return connect(t, broker.Options{Embedded: e, Limits: limits}) })
	})
	t.Run("cluster", func(t *testing.T) {
		if testing.Short() {
			t.Skip("three servers take their time")
		}
		servers, next := startCluster(t), 0
		test(t, func() *broker.Broker {
			url := servers[next%len(servers)].ClientURL()
			next++
			return connect(t, broker.Options{URL: url, Limits: limits, Replicas: 3})
		})
	})
}

// The command line is told nothing of replicas, and must not undo what the services were.
func TestClientThatIsToldNoReplicasLeavesThemAsTheyAre(t *testing.T) {
	if testing.Short() {
		t.Skip("three servers take their time")
	}
	url := startCluster(t)[0].ClientURL()
	connect(t, broker.Options{URL: url, Replicas: 3})
	b := connect(t, broker.Options{URL: url, Limits: broker.Limits{PerSubject: 7}})
	for _, name := range []string{b.Streams().Write, b.Streams().Bodies, "KV_" + b.Buckets().Leases} {
		s, err := b.JetStream().Stream(testContext(t), name)
		require.NoError(t, err)
		require.Equal(t, 3, s.CachedInfo().Config.Replicas, name)
	}
	s, err := b.JetStream().Stream(testContext(t), b.Streams().Write)
	require.NoError(t, err)
	require.EqualValues(t, 7, s.CachedInfo().Config.MaxMsgsPerSubject)
}
