// Package pause lets time pass.
package pause

import (
	"context"
	"time"
)

// For waits for d, or for the end of ctx, whose cause it then returns. A wait of nothing,
// or less, says whether ctx has ended.
func For(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
