package broker_test

import (
	"context"
	"net"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// restartable is a broker on a port and a directory that outlive its server.
type restartable struct {
	options broker.EmbeddedOptions
	server  *broker.Embedded
}

func startRestartable(t *testing.T) *restartable {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &restartable{options: broker.EmbeddedOptions{DataDir: t.TempDir(), Listen: free.Addr().String()}}
	require.NoError(t, free.Close())
	r.start(t)
	t.Cleanup(func() { require.NoError(t, r.server.Close()) })
	return r
}

func (r *restartable) start(t *testing.T) {
	t.Helper()
	var err error
	r.server, err = broker.StartEmbedded(testContext(t), r.options)
	require.NoError(t, err)
}

func TestLossOfTheDiskIsNoticedAndTheStreamsAreMadeAgain(t *testing.T) {
	r := startRestartable(t)
	b := connect(t, broker.Options{URL: r.server.ClientURL()})
	ctx := testContext(t)
	birth, err := b.Birth(ctx)
	require.NoError(t, err)
	lost := make(chan error, 1)
	go func() { lost <- b.AwaitLoss(ctx, birth) }()

	require.NoError(t, r.server.Close())
	require.NoError(t, os.RemoveAll(r.options.DataDir))
	r.start(t)

	require.ErrorIs(t, <-lost, broker.ErrDiskLost)
	require.Zero(t, messagesIn(t, b, b.Streams().Changes))
	require.Zero(t, messagesIn(t, b, "KV_"+b.Buckets().Leases))
}

func TestRestartOfTheBrokerIsNoLoss(t *testing.T) {
	r := startRestartable(t)
	b := connect(t, broker.Options{URL: r.server.ClientURL()})
	birth, err := b.Birth(testContext(t))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(testContext(t))
	lost := make(chan error, 1)
	go func() { lost <- b.AwaitLoss(ctx, birth) }()

	require.NoError(t, r.server.Close())
	r.start(t)

	again, err := b.Birth(testContext(t))
	require.NoError(t, err)
	require.Equal(t, birth, again)
	cancel()
	require.NoError(t, <-lost)
}
