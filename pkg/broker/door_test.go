package broker_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

func TestDoorLetsInWhoCanReadTheDataDirectoryAndNobodyElse(t *testing.T) {
	dir := t.TempDir()
	_, err := broker.Door(dir)
	require.ErrorIs(t, err, broker.ErrNoDoor)
	e, err := broker.StartEmbedded(testContext(t), broker.EmbeddedOptions{DataDir: dir, Door: true})
	require.NoError(t, err)
	inside := connect(t, broker.Options{Embedded: e})
	require.True(t, inside.Private())

	url, err := broker.Door(dir)
	require.NoError(t, err)
	outside := connect(t, broker.Options{URL: url})
	p := newPublisher(t, inside, broker.PublisherOptions{})
	put(t, inside, p, "a", "1", "content")
	require.Equal(t, []string{"content"}, contents(t, outside, outside.Subjects().Failures("a", broker.Any)))

	scheme, rest, _ := strings.Cut(url, "://")
	_, address, _ := strings.Cut(rest, "@")
	require.True(t, strings.HasPrefix(address, "127.0.0.1:"), address)
	for _, wrong := range []string{scheme + "://" + address, scheme + "://wrong@" + address} {
		_, err = nats.Connect(wrong)
		require.ErrorIs(t, err, nats.ErrAuthorization)
	}
	if runtime.GOOS != "windows" {
		info, err := os.Stat(filepath.Join(dir, "door"))
		require.NoError(t, err)
		require.EqualValues(t, 0o600, info.Mode().Perm())
	}
	require.NoError(t, outside.Close(testContext(t)))
	require.NoError(t, inside.Close(testContext(t)))
	require.NoError(t, e.Close())
	_, err = broker.Door(dir)
	require.ErrorIs(t, err, broker.ErrNoDoor)
}

// A server that takes clients anyway says where.
func TestDoorOfAServerThatListens(t *testing.T) {
	dir := t.TempDir()
	e := startEmbedded(t, broker.EmbeddedOptions{DataDir: dir, Door: true, Listen: "127.0.0.1:0"})
	url, err := broker.Door(dir)
	require.NoError(t, err)
	require.Equal(t, e.ClientURL(), url)
	require.False(t, e.Private())
	connect(t, broker.Options{URL: url})
}
