package broker

// dealer deals items to handlers: one queue per subject, one item of each
// subject in turn, so that a slow subject among a hundred costs the others
// nothing. It is pure and not safe for concurrent use; every operation takes
// constant time.
type dealer[T any] struct {
	rules  dealerRules
	queues map[string]*dealerQueue[T]
	ready  []string // subjects that may be dealt now, in turn
	held   int      // items queued or being handled
	busy   int      // items being handled
}

// dealerRules bounds a dealer. Every field is at least 1.
type dealerRules struct {
	inFlight   int // items being handled at once
	perSubject int // of one subject at once
	share      int // items queued of one subject
	capacity   int // items held of all subjects
}

// dealerQueue is one subject's. It exists while the subject has items.
type dealerQueue[T any] struct {
	items   []T
	busy    int
	isReady bool
}

func newDealer[T any](rules dealerRules) *dealer[T] {
	return &dealer[T]{rules: rules, queues: make(map[string]*dealerQueue[T])}
}

// offer queues an item. False: the subject has its share of the room already.
func (d *dealer[T]) offer(subject string, item T) bool {
	q := d.queues[subject]
	if q == nil {
		q = &dealerQueue[T]{}
		d.queues[subject] = q
	}
	if len(q.items) >= d.share() || d.held >= d.rules.capacity {
		d.drop(subject, q)
		return false
	}
	q.items = append(q.items, item)
	d.held++
	d.line(subject, q)
	return true
}

// share is how many items a subject may have queued. While there is room it is
// what the rules say; when half of the room is taken, subjects divide the other
// half, so that many slow ones cannot take all of it.
func (d *dealer[T]) share() int {
	if 2*d.held < d.rules.capacity {
		return d.rules.share
	}
	return max(1, min(d.rules.share, d.rules.capacity/(2*len(d.queues))))
}

// next hands out an item to be handled. False: there is none, or as many are
// being handled as may be.
func (d *dealer[T]) next() (subject string, item T, ok bool) {
	if d.busy >= d.rules.inFlight || len(d.ready) == 0 {
		return "", item, false
	}
	subject = d.ready[0]
	d.ready = d.ready[1:]
	q := d.queues[subject]
	q.isReady = false
	item = q.items[0]
	q.items = q.items[1:]
	q.busy++
	d.busy++
	d.line(subject, q)
	return subject, item, true
}

// done says that an item handed out by next is finished.
func (d *dealer[T]) done(subject string) {
	q := d.queues[subject]
	q.busy--
	d.busy--
	d.held--
	d.line(subject, q)
	d.drop(subject, q)
}

// empty removes and returns everything that is queued.
func (d *dealer[T]) empty() []T {
	var items []T
	for subject, q := range d.queues {
		items = append(items, q.items...)
		q.items, q.isReady = nil, false
		d.drop(subject, q)
	}
	d.ready = nil
	d.held -= len(items)
	return items
}

// line puts a subject at the end of the line when one of its items may be dealt.
func (d *dealer[T]) line(subject string, q *dealerQueue[T]) {
	if q.isReady || len(q.items) == 0 || q.busy >= d.rules.perSubject {
		return
	}
	q.isReady = true
	d.ready = append(d.ready, subject)
}

// drop forgets a subject that has nothing left.
func (d *dealer[T]) drop(subject string, q *dealerQueue[T]) {
	if len(q.items) == 0 && q.busy == 0 {
		delete(d.queues, subject)
	}
}
