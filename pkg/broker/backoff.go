package broker

import (
	"context"
	"time"

	"github.com/cenkalti/backoff/v5"

	"millrace/pkg/pause"
)

// retryPause spaces attempts: longer each time, up to a limit, and jittered so
// that those who were refused together do not come back together.
type retryPause struct{ policy *backoff.ExponentialBackOff }

func newBackoff(first, limit time.Duration) *retryPause {
	return &retryPause{policy: &backoff.ExponentialBackOff{
		InitialInterval:     first,
		RandomizationFactor: 0.5,
		Multiplier:          2,
		MaxInterval:         limit,
	}}
}

// wait pauses before the next attempt; the error is ctx's.
func (r *retryPause) wait(ctx context.Context) error {
	return pause.For(ctx, r.policy.NextBackOff())
}

// reset starts over with the shortest pause.
func (r *retryPause) reset() { r.policy.Reset() }
