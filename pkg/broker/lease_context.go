package broker

import "context"

// Context returns a context for what is done under the lease: it ends with parent, and
// with cause [ErrLeaseLost] when the lease is lost. cancel releases what it holds.
func (l *Lease) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-l.lost:
			end(ErrLeaseLost)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		end(context.Canceled)
		<-done
	}
}
