package broker_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

const ttl = 2 * time.Second

func TestLeaseHasOneHolder(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		brokers := []*broker.Broker{connect(), connect(), connect()}
		var mu sync.Mutex
		var leases []*broker.Lease
		var contenders sync.WaitGroup
		for i := range 12 {
			contenders.Go(func() {
				l, err := brokers[i%3].AcquireLease(testContext(t), "feed/1", "somebody", ttl)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					leases = append(leases, l)
					return
				}
				require.ErrorIs(t, err, broker.ErrHeld)
			})
		}
		contenders.Wait()
		require.Len(t, leases, 1)
		require.True(t, leases[0].Valid())
		require.NoError(t, leases[0].Release(testContext(t)))
		require.False(t, leases[0].Valid())
	})
}

func TestReleasedLeaseGoesToWhoWaitsWithAHigherRevision(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b, other := connect(), connect()
		first, err := b.AcquireLease(testContext(t), "l", "first", ttl)
		require.NoError(t, err)
		got := make(chan *broker.Lease, 1)
		go func() {
			l, err := other.WaitLease(testContext(t), "l", "second", ttl)
			if err != nil {
				t.Error(err)
			}
			got <- l
		}()
		require.NoError(t, b.CheckLease(testContext(t), "l", first.Revision()))
		require.NoError(t, first.Release(testContext(t)))
		second := <-got
		require.NotNil(t, second)
		require.Greater(t, second.Revision(), first.Revision())
		require.ErrorIs(t, b.CheckLease(testContext(t), "l", first.Revision()), broker.ErrLeaseLost)
		require.NoError(t, b.CheckLease(testContext(t), "l", second.Revision()))
		require.NoError(t, first.Release(testContext(t)), "releasing what is lost is harmless")
		require.NoError(t, b.CheckLease(testContext(t), "l", second.Revision()), "and does not touch the new holder")
		require.NoError(t, second.Release(testContext(t)))
	})
}

// renewals counts the records written to the leases' bucket, which is how the
// tests tell that time has passed for the broker.
func revisionsWritten(t *testing.T, b *broker.Broker) uint64 {
	s, err := b.JetStream().Stream(testContext(t), "KV_"+b.Buckets().Leases)
	require.NoError(t, err)
	return s.CachedInfo().State.LastSeq
}

func TestRenewedLeaseKeepsItsRevisionForLongerThanItsTimeToLive(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	l, err := b.AcquireLease(testContext(t), "l", "me", time.Second)
	require.NoError(t, err)
	// Renewals come three to a time to live.
	await(t, "it is renewed", func() bool { return revisionsWritten(t, b) >= l.Revision()+7 })
	require.True(t, l.Valid())
	require.NoError(t, b.CheckLease(testContext(t), "l", l.Revision()))
	_, err = b.AcquireLease(testContext(t), "l", "other", time.Second)
	require.ErrorIs(t, err, broker.ErrHeld)
	require.NoError(t, l.Release(testContext(t)))
}

func TestLeaseOfAVanishedHolderExpires(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		b, other := connect(), connect()
		life, vanish := context.WithCancel(testContext(t))
		first, err := b.AcquireLease(life, "l", "first", time.Second)
		require.NoError(t, err)
		vanish()
		<-first.Lost()
		require.False(t, first.Valid())
		second, err := other.WaitLease(testContext(t), "l", "second", time.Second)
		require.NoError(t, err)
		require.Greater(t, second.Revision(), first.Revision())
		require.NoError(t, second.Release(testContext(t)))
	})
}

func TestLeaseIsLostWithTheBroker(t *testing.T) {
	e, err := broker.StartEmbedded(testContext(t), broker.EmbeddedOptions{DataDir: t.TempDir()})
	require.NoError(t, err)
	b := connect(t, broker.Options{Embedded: e})
	l, err := b.AcquireLease(testContext(t), "l", "me", time.Second)
	require.NoError(t, err)
	require.NoError(t, e.Close())
	<-l.Lost()
	require.False(t, l.Valid())
}

func TestPrivateBrokerForgetsTheLeasesOfItsFormerLife(t *testing.T) {
	dir := t.TempDir()
	e, err := broker.StartEmbedded(testContext(t), broker.EmbeddedOptions{DataDir: dir})
	require.NoError(t, err)
	b := connect(t, broker.Options{Embedded: e})
	life, crash := context.WithCancel(testContext(t))
	first, err := b.AcquireLease(life, "l", "me", time.Hour)
	require.NoError(t, err)
	crash()
	<-first.Lost()
	require.NoError(t, e.Close())

	b = connect(t, broker.Options{Embedded: startEmbedded(t, broker.EmbeddedOptions{DataDir: dir})})
	_, err = b.AcquireLease(testContext(t), "l", "me", time.Hour)
	require.ErrorIs(t, err, broker.ErrHeld)
	require.NoError(t, b.ResetLeases(testContext(t)))
	second, err := b.AcquireLease(testContext(t), "l", "me", time.Hour)
	require.NoError(t, err)
	require.Greater(t, second.Revision(), first.Revision())
	require.NoError(t, second.Release(testContext(t)))
}

func TestBrokerWithAPortKeepsItsLeases(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{Listen: "127.0.0.1:0"})
	b := connect(t, broker.Options{Embedded: e})
	l, err := b.AcquireLease(testContext(t), "l", "me", ttl)
	require.NoError(t, err)
	require.NoError(t, b.ResetLeases(testContext(t)))
	require.NoError(t, b.CheckLease(testContext(t), "l", l.Revision()))
	require.NoError(t, l.Release(testContext(t)))
}

// The acquisition's answer is lost, and so is a renewal's: neither is a loss of the lease.
func TestLeaseWhoseAnswersAreLostIsKept(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{Listen: "127.0.0.1:0"})
	p := startProxy(t, strings.TrimPrefix(e.ClientURL(), "nats://"))
	direct, b := connect(t, broker.Options{Embedded: e}), connect(t, broker.Options{URL: p.url()})
	const records = " $KV.millrace_leases."
	p.deafAfter(records)
	acquired := make(chan *broker.Lease, 1)
	go func() {
		l, err := b.AcquireLease(testContext(t), "l", "me", 6*time.Second)
		if err != nil {
			t.Error(err)
		}
		acquired <- l
	}()
	await(t, "there is a sign of life", func() bool { return revisionsWritten(t, direct) == 1 })
	p.hear()
	l := <-acquired
	require.NotNil(t, l)
	p.deafAfter(records)
	await(t, "it is renewed", func() bool { return revisionsWritten(t, direct) == 3 })
	p.hear()
	await(t, "it is renewed again", func() bool { return revisionsWritten(t, direct) >= l.Revision()+3 })
	require.True(t, l.Valid())
	require.NoError(t, direct.CheckLease(testContext(t), "l", l.Revision()))
	require.NoError(t, l.Release(testContext(t)))
}

// All leases of a process are renewed by one key.
func TestManyLeasesAreRenewedByOneSign(t *testing.T) {
	b := newBroker(t, broker.Limits{})
	var leases []*broker.Lease
	for i := range 50 {
		l, err := b.AcquireLease(testContext(t), fmt.Sprint("l", i), "me", time.Second)
		require.NoError(t, err)
		leases = append(leases, l)
	}
	last := leases[len(leases)-1].Revision()
	// The first sign, the leases, and renewals of the one since: not one of a lease.
	await(t, "time has passed", func() bool { return revisionsWritten(t, b) >= last+4 })
	for i, l := range leases {
		require.True(t, l.Valid())
		require.NoError(t, b.CheckLease(testContext(t), l.Name(), l.Revision()))
		_, err := b.AcquireLease(testContext(t), l.Name(), "other", time.Second)
		require.ErrorIs(t, err, broker.ErrHeld)
		s, err := b.JetStream().Stream(testContext(t), "KV_"+b.Buckets().Leases)
		require.NoError(t, err)
		require.EqualValues(t, len(leases)+1, s.CachedInfo().State.Msgs)
		if i > 3 {
			break
		}
	}
	for _, l := range leases {
		require.NoError(t, l.Release(testContext(t)))
	}
	again, err := b.AcquireLease(testContext(t), "l0", "me", time.Second)
	require.NoError(t, err, "the next one gives a sign of its own")
	require.NoError(t, again.Release(testContext(t)))
}

// The holder's process dies: nobody takes its sign back, and all its leases end with it.
func TestLeasesOfADeadProcessEndTogether(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		dead, other := connect(), connect()
		var leases []*broker.Lease
		for i := range 10 {
			l, err := dead.AcquireLease(testContext(t), fmt.Sprint("l", i), "first", time.Second)
			require.NoError(t, err)
			leases = append(leases, l)
		}
		dead.Conn().Close()
		for i, l := range leases {
			<-l.Lost()
			require.False(t, l.Valid())
			next, err := other.WaitLease(testContext(t), fmt.Sprint("l", i), "second", time.Second)
			require.NoError(t, err)
			require.Greater(t, next.Revision(), l.Revision())
			require.ErrorIs(t, other.CheckLease(testContext(t), l.Name(), l.Revision()), broker.ErrLeaseLost)
			require.NoError(t, next.Release(testContext(t)))
		}
	})
}

// A lease whose holder gives no sign of life is nobody's, although nobody has taken it yet.
func TestLeaseOfADeadHolderFailsTheCheck(t *testing.T) {
	onEachKind(t, broker.Limits{}, func(t *testing.T, connect func() *broker.Broker) {
		dead, other := connect(), connect()
		l, err := dead.AcquireLease(testContext(t), "l", "first", time.Second)
		require.NoError(t, err)
		require.NoError(t, other.CheckLease(testContext(t), "l", l.Revision()))
		dead.Conn().Close()
		await(t, "the check fails", func() bool {
			return errors.Is(other.CheckLease(testContext(t), "l", l.Revision()), broker.ErrLeaseLost)
		})
		<-l.Lost()
	})
}

// Whoever wanted the lease gave up before it knew that it had it. The process goes on, and gives signs of
// life: the lease must not hang on them.
func TestLeaseThatNobodyKnowsOfIsGivenBack(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{Listen: "127.0.0.1:0"})
	p := startProxy(t, strings.TrimPrefix(e.ClientURL(), "nats://"))
	direct, b := connect(t, broker.Options{Embedded: e}), connect(t, broker.Options{URL: p.url()})
	keeper, err := b.AcquireLease(testContext(t), "keeper", "me", 6*time.Second)
	require.NoError(t, err)
	const records = " $KV.millrace_leases."
	before := revisionsWritten(t, direct)
	p.deafAfter(records)
	impatient, giveUp := context.WithCancel(testContext(t))
	failed := make(chan error, 1)
	go func() {
		_, err := b.AcquireLease(impatient, "l", "me", 6*time.Second)
		failed <- err
	}()
	await(t, "the lease is written", func() bool { return revisionsWritten(t, direct) > before })
	giveUp()
	p.hear()
	require.Error(t, <-failed)
	next, err := direct.WaitLease(testContext(t), "l", "other", 6*time.Second)
	require.NoError(t, err)
	require.NoError(t, next.Release(testContext(t)))
	require.NoError(t, keeper.Release(testContext(t)))
}
