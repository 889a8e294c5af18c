package selector

import (
	"sync"
	"time"
)

const (
	// patience is how long a batch waits for jobs without room while others have theirs. Jobs at
	// about the same pace are full at about the same time: passing over whoever is full at the moment would
	// have each of them replay what the others are given.
	patience = 500 * time.Millisecond
	// strideMin and strideMax are for how long a job is not waited for again that was waited for in vain,
	// growing from the one to the other.
	strideMin, strideMax = time.Second, time.Minute
)

// pace remembers jobs that do not keep pace, so that nobody waits for them at every batch.
type pace struct {
	now func() time.Time

	mu   sync.Mutex
	slow map[string]stride
}

// stride is for how long a job is not waited for.
type stride struct {
	until  time.Time
	length time.Duration
}

func newPace(now func() time.Time) *pace { return &pace{now: now, slow: map[string]stride{}} }

// keeps reports whether the job is worth waiting for.
func (p *pace) keeps(job string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.now().Before(p.slow[job].until)
}

// late is told that the job was waited for in vain.
func (p *pace) late(job string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for other, s := range p.slow { // those that were not late again, or are no more
		if now.Sub(s.until) > strideMax {
			delete(p.slow, other)
		}
	}
	s := p.slow[job]
	if now.Before(s.until) {
		return // another batch has said so
	}
	s.length = min(max(2*s.length, strideMin), strideMax)
	s.until = now.Add(s.length)
	p.slow[job] = s
}

// prompt is told that the job took what it was waited for with.
func (p *pace) prompt(job string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.slow, job)
}
