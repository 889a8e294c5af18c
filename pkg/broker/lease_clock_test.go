package broker

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A process that was stopped is woken with a lease that nobody has renewed.
func TestLeaseIsInvalidByTheClockAlone(t *testing.T) {
	l := &Lease{ttl: 10 * time.Second, renewed: time.Now()}
	require.True(t, l.Valid())
	l.renewed = time.Now().Add(-10 * time.Second)
	require.False(t, l.Valid(), "it outlived its time by the monotonic clock")
	// A machine that slept: the monotonic clock stood still, the other did not.
	l.renewed = time.Now().Round(0).Add(-10 * time.Second)
	require.False(t, l.Valid(), "it outlived its time by the wall clock")
}
