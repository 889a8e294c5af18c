package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A process that was stopped is woken with a lease that nobody has renewed.
func TestLeaseIsInvalidByTheClockAlone(t *testing.T) {
	s := &sign{ttl: 10 * time.Second, renewed: time.Now()}
	l := &Lease{life: t.Context(), sign: s}
	require.True(t, l.Valid())
	s.renewed = time.Now().Add(-10 * time.Second)
	require.False(t, l.Valid(), "it outlived its time by the monotonic clock")
	// A machine that slept: the monotonic clock stood still, the other did not.
	s.renewed = time.Now().Round(0).Add(-10 * time.Second)
	require.False(t, l.Valid(), "it outlived its time by the wall clock")
}
