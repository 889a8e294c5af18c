package broker_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
	millracev1 "millrace/proto/millrace/v1"
)

func TestBucketKeepsTypedValuesUnderAnyKey(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b := connect()
		k, err := broker.OpenBucket[*millracev1.Position](testContext(t), b, b.Buckets().Jobs)
		require.NoError(t, err)
		const key = "a job/with spaces+ümlauts"
		_, _, err = k.Get(testContext(t), key)
		require.ErrorIs(t, err, broker.ErrNotFound)

		revision, err := k.Create(testContext(t), key, &millracev1.Position{Ordinal: 1})
		require.NoError(t, err)
		_, err = k.Create(testContext(t), key, &millracev1.Position{Ordinal: 2})
		require.ErrorIs(t, err, broker.ErrConflict)
		revision, err = k.Update(testContext(t), key, &millracev1.Position{Ordinal: 3}, revision)
		require.NoError(t, err)
		_, err = k.Update(testContext(t), key, &millracev1.Position{Ordinal: 4}, revision-1)
		require.ErrorIs(t, err, broker.ErrConflict)
		await(t, "every replica has it", func() bool {
			v, r, err := k.Get(testContext(t), key)
			return err == nil && r == revision && v.GetOrdinal() == 3
		})

		require.ErrorIs(t, k.Delete(testContext(t), key, revision-1), broker.ErrConflict)
		require.NoError(t, k.Delete(testContext(t), key, revision))
		_, err = k.Create(testContext(t), key, &millracev1.Position{Ordinal: 5})
		require.NoError(t, err)
	})
}

func TestWatchSaysWhatIsThereAndThenWhatChanges(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	k, err := broker.OpenBucket[*millracev1.Position](testContext(t), b, b.Buckets().Feeds)
	require.NoError(t, err)
	_, err = k.Put(testContext(t), "old", &millracev1.Position{Ordinal: 1})
	require.NoError(t, err)
	w, err := k.Watch(testContext(t))
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	next := func() broker.Change[*millracev1.Position] {
		c, err := w.Next(testContext(t))
		require.NoError(t, err)
		return c
	}
	c := next()
	require.Equal(t, broker.Token("old"), c.Token)
	require.EqualValues(t, 1, c.Value.GetOrdinal())
	require.True(t, next().Current)
	_, err = k.Put(testContext(t), "new", &millracev1.Position{Ordinal: 2})
	require.NoError(t, err)
	require.EqualValues(t, 2, next().Value.GetOrdinal())
	require.NoError(t, k.Delete(testContext(t), "old", 0))
	c = next()
	require.True(t, c.Deleted)
	require.Equal(t, broker.Token("old"), c.Token)
}
