package control

import (
	"context"
	"sync"
	"time"

	millracev1 "millrace/proto/millrace/v1"
)

// looking reports whether a request only asks how a database is, so that one answer serves all who ask:
// hundreds of jobs of one source ask the same when they begin.
func looking(req *millracev1.DatabaseRequest) bool {
	switch req.Request.(type) {
	case *millracev1.DatabaseRequest_Info, *millracev1.DatabaseRequest_Pending:
		return true
	}
	return false
}

// lookTogether is how long those who ask while a request is on its way wait for its end, to ask together.
const lookTogether = time.Second

// looks are requests that several ask for at once. Nobody gets the answer to a request that was on its way
// before he asked: it may have seen the database as it was before something that he knows of. Those
// who come while one is on its way share the next.
type looks struct {
	mu     sync.Mutex
	newest map[string]*look
}

// look is a request that waits for the one before it, or is on its way.
type look struct {
	cancel context.CancelFunc
	done   chan struct{}
	// begun: it is on its way, and nobody may join it any more.
	begun bool
	// waiting is how many want the answer. The last to give up cancels it.
	waiting int
	reply   *millracev1.DatabaseReply
	err     error
}

// asking is a request, which ends early with its context.
type asking func(context.Context) (*millracev1.DatabaseReply, error)

// do returns the answer to a request that began after do did.
func (l *looks) do(ctx context.Context, key string, ask asking) (*millracev1.DatabaseReply, error) {
	k := l.join(ctx, key, ask)
	select {
	case <-k.done:
		return k.reply, k.err
	case <-ctx.Done():
		l.leave(k)
		return nil, context.Cause(ctx)
	}
}

func (l *looks) join(ctx context.Context, key string, ask asking) *look {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.newest[key]
	if before != nil && !before.begun {
		before.waiting++
		return before
	}
	k := &look{done: make(chan struct{}), waiting: 1}
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.newest[key] = k
	go l.run(ctx, key, k, before, ask)
	return k
}

func (l *looks) leave(k *look) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.waiting--; k.waiting == 0 {
		k.begun = true
		k.cancel()
	}
}

func (l *looks) run(ctx context.Context, key string, k, before *look, ask asking) {
	defer k.cancel()
	if before != nil {
		patience, stop := context.WithTimeout(ctx, lookTogether)
		select {
		case <-before.done:
		case <-patience.Done():
		}
		stop()
	}
	l.mu.Lock()
	k.begun = true
	l.mu.Unlock()
	k.reply, k.err = ask(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	close(k.done)
	if l.newest[key] == k {
		delete(l.newest, key)
	}
}
