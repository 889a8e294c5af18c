package fetcher

import (
	"context"

	millracev1 "millrace/proto/millrace/v1"
)

// sending is a part on its way.
type sending struct {
	done chan struct{}
	err  error // once done is closed
}

// send publishes a part, behind those that were sent before, and returns when the job has it. But for the last one it
// does not wait for that while others wait for what this batch is still fetching: a job for which there is no room
// holds up nobody but itself. The packer is locked.
//
// What waits here are references; the bodies stand in BODIES, the limits of which drop the oldest.
func (p *packer) send(ctx context.Context, part *millracev1.WriteBatch) error {
	if p.claim == nil && p.sent == nil {
		return p.out.part(ctx, part)
	}
	before, now := p.sent, &sending{done: make(chan struct{})}
	p.sent = now
	go func() {
		defer close(now.done)
		if before != nil {
			<-before.done
			if now.err = before.err; now.err != nil {
				return
			}
		}
		now.err = p.out.part(ctx, part)
	}()
	var awaited <-chan struct{}
	if p.claim != nil && !part.Part.Last {
		awaited = p.claim.Awaited()
	}
	select {
	case <-awaited:
		return nil
	case <-now.done:
		p.sent = nil
		return now.err
	}
}

// close waits until nothing of the batch is on its way any more. Its context has to have ended,
// unless the batch is at its end.
func (p *packer) close() {
	p.placing.Wait()
	p.mu.Lock()
	last := p.sent
	p.mu.Unlock()
	if last != nil {
		<-last.done
	}
}
