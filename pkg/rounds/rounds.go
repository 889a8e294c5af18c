// Package rounds lets those who want the same done at about the same time have it done once, for all of them.
package rounds

import (
	"context"
	"sync"
	"time"
)

// Patience is how long a round waits for the one before it, to gather those who come meanwhile. What hangs
// keeps nobody for longer from trying for himself.
const Patience = time.Second

// Rounds do work by key: M is what each caller brings, R what comes of it. The zero value is ready for use.
//
// Nobody has a share in work that began before he came: it may have seen things as they were before
// something that he knows of. Those who come while a round works take part in the next.
type Rounds[K comparable, M, R any] struct {
	mu     sync.Mutex
	newest map[K]*round[M, R]
}

type round[M, R any] struct {
	before  *round[M, R] // until this one works
	members []M
	works   bool // nobody may join any more
	done    chan struct{}
	result  R
	err     error
	// over: it ended with the context of the caller who did the work.
	over bool
}

// Do has work done for the caller and for whoever else comes in time, by one of them, and returns its
// outcome to each. When the context ends of the one who works, the others begin another round.
func (r *Rounds[K, M, R]) Do(ctx context.Context, key K, m M, work func(context.Context, []M) (R, error)) (R, error) {
	for {
		in, begins := r.join(key, m)
		if begins {
			r.run(ctx, key, in, work)
			return in.result, in.err
		}
		select {
		case <-in.done:
		case <-ctx.Done():
			var none R
			return none, context.Cause(ctx)
		}
		if !in.over {
			return in.result, in.err
		}
	}
}

func (r *Rounds[K, M, R]) join(key K, m M) (in *round[M, R], begins bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	there := r.newest[key]
	if there != nil && !there.works {
		there.members = append(there.members, m)
		return there, false
	}
	in = &round[M, R]{before: there, members: []M{m}, done: make(chan struct{})}
	if r.newest == nil {
		r.newest = map[K]*round[M, R]{}
	}
	r.newest[key] = in
	return in, true
}

func (r *Rounds[K, M, R]) run(ctx context.Context, key K, in *round[M, R], work func(context.Context, []M) (R, error)) {
	in.over = true // unless work returns
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		in.works = true
		if r.newest[key] == in {
			delete(r.newest, key)
		}
		close(in.done)
	}()
	if in.before != nil {
		timer := time.NewTimer(Patience)
		select {
		case <-in.before.done:
		case <-timer.C:
		case <-ctx.Done():
			in.err = context.Cause(ctx)
		}
		timer.Stop()
		in.before = nil
		if in.err != nil {
			return
		}
	}
	r.mu.Lock()
	in.works = true
	members := in.members
	r.mu.Unlock()
	in.result, in.err = work(ctx, members)
	in.over = in.err != nil && ctx.Err() != nil
}
