package broker_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// Several writers of one key read it and write what follows. A replicated bucket answers
// some of them that another write is on its way, which must come to the same.
func TestOfThoseWhoWriteAKeyAtOnceOneWins(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		bucket := b.Buckets().Jobs
		var revision uint64
		for round := range 20 {
			var mu sync.Mutex
			var won []uint64
			var writers sync.WaitGroup
			for i := range 5 {
				writers.Go(func() {
					next, err := b.WriteKey(testContext(t), bucket, "key", fmt.Appendf(nil, "%d.%d", round, i), revision)
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won = append(won, next)
						return
					}
					require.ErrorIs(t, err, broker.ErrFenced)
				})
			}
			writers.Wait()
			require.Len(t, won, 1)
			revision = won[0]
		}
	})
}

func TestKeyThatWasRemovedIsMadeAgain(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	bucket := b.Buckets().Jobs
	first, err := b.WriteKey(testContext(t), bucket, "key", []byte("1"), 0)
	require.NoError(t, err)
	_, err = b.WriteKey(testContext(t), bucket, "key", []byte("2"), 0)
	require.ErrorIs(t, err, broker.ErrFenced)
	kv, err := b.JetStream().KeyValue(testContext(t), bucket)
	require.NoError(t, err)
	require.NoError(t, kv.Delete(testContext(t), "key"))
	again, err := b.WriteKey(testContext(t), bucket, "key", []byte("3"), 0)
	require.NoError(t, err)
	require.Greater(t, again, first)
	last, err := b.PutKey(testContext(t), bucket, "key", []byte("4"))
	require.NoError(t, err)
	e, err := kv.Get(testContext(t), "key")
	require.NoError(t, err)
	require.Equal(t, "4", string(e.Value()))
	require.Equal(t, last, e.Revision())
}

func TestWriteOfAKeyWhoseAnswerWasLostCountsOnce(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{Listen: "127.0.0.1:0"})
	p := startProxy(t, strings.TrimPrefix(e.ClientURL(), "nats://"))
	direct, b := connect(t, broker.Options{Embedded: e}), connect(t, broker.Options{URL: p.url()})
	bucket := b.Buckets().Jobs
	revision, err := b.WriteKey(testContext(t), bucket, "key", []byte("1"), 0)
	require.NoError(t, err)
	p.deafAfter("$KV.")
	written := make(chan error, 1)
	go func() {
		_, err := b.WriteKey(testContext(t), bucket, "key", []byte("2"), revision)
		written <- err
	}()
	await(t, "the broker has it", func() bool {
		e, err := direct.Last(testContext(t), "KV_"+bucket, "$KV."+bucket+".key")
		require.NoError(t, err)
		return string(e.Data) == "2"
	})
	p.hear()
	require.NoError(t, <-written)
}
