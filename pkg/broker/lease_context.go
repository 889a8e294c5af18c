package broker

import "context"

// Context returns a context for what is done under the lease: it ends with parent, and
// with cause [ErrLeaseLost] when the lease is lost. cancel releases what it holds.
func (l *Lease) Context(parent context.Context) (ctx context.Context, cancel context.CancelFunc) {
	ctx, end := context.WithCancelCause(parent)
	stop := context.AfterFunc(l.life, func() { end(ErrLeaseLost) })
	return ctx, func() {
		stop()
		end(context.Canceled)
	}
}
