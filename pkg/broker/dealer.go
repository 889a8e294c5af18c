package broker

import "slices"

// dealer deals items to handlers: one queue per subject, one item of each
// subject in turn, so that a slow subject among a hundred costs the others
// nothing. It is pure and not safe for concurrent use. Operations take constant
// time, except that offer looks at every subject while room is scarce, and next at those
// that have to wait.
type dealer[T any] struct {
	rules  dealerRules
	queues map[string]*dealerQueue[T]
	ready  []string // subjects that may be dealt now, in turn
	held   int      // items queued or being handled
	busy   int      // items being handled
}

// dealerRules bounds a dealer. Every number is at least 1.
type dealerRules struct {
	inFlight   int // items being handled at once, whatever their subjects
	crowd      int // items being handled at once of many subjects; see room
	perSubject int // of one subject at once
	share      int // items queued of one subject
	capacity   int // items held of all subjects
	// bound is perSubject for a subject that has a bound of its own, and 0 for any
	// other. Nil: none has. It is asked whenever an item comes or is done.
	bound func(subject string) int
}

// most is how many items of a subject may be handled at once.
func (r dealerRules) most(subject string) int {
	if r.bound != nil {
		if n := r.bound(subject); n > 0 {
			return n
		}
	}
	return r.perSubject
}

// room reports whether a subject with so many items being handled may have another one when busy are in all.
// inFlight go to whoever comes. Above that the first of a subject is handled while fewer than crowd are, its
// second while fewer than half of crowd are, its third a quarter: subjects that stand still, however many
// they are at first, leave places to the others, who get them before they have more themselves.
func (r dealerRules) room(busy, own int) bool { return busy < max(r.inFlight, r.crowd>>own) }

// dealerQueue is one subject's. It exists while the subject has items.
type dealerQueue[T any] struct {
	items   []T
	busy    int
	isReady bool
}

func newDealer[T any](rules dealerRules) *dealer[T] {
	return &dealer[T]{rules: rules, queues: make(map[string]*dealerQueue[T])}
}

// offer queues an item. When room is scarce the longest queue makes place: what
// it gives up, or the item itself when its subject has about as many or has its
// share already, is returned and must be put back.
func (d *dealer[T]) offer(subject string, item T) (back T, refused bool) {
	q := d.queues[subject]
	if q == nil {
		q = &dealerQueue[T]{}
		d.queues[subject] = q
	}
	if len(q.items) >= d.rules.share || d.held >= d.rules.capacity {
		d.drop(subject, q)
		return item, true
	}
	if d.scarce() {
		longest := d.longest()
		if len(q.items) > 0 && len(q.items)+1 >= len(longest.items) {
			return item, true
		}
		if len(longest.items) > len(q.items)+1 {
			back, refused = longest.items[len(longest.items)-1], true
			longest.items = longest.items[:len(longest.items)-1]
			d.held--
		}
	}
	q.items = append(q.items, item)
	d.held++
	d.line(subject, q)
	return back, refused
}

// scarce reports that only a quarter of the room is left. It is kept free for as
// long as a subject has two items queued, because where there is no room nothing
// can be pulled, and then slow subjects would keep out all others.
func (d *dealer[T]) scarce() bool { return 4*d.held >= 3*d.rules.capacity }

func (d *dealer[T]) longest() *dealerQueue[T] {
	var longest *dealerQueue[T]
	for _, q := range d.queues {
		if longest == nil || len(q.items) > len(longest.items) {
			longest = q
		}
	}
	return longest
}

// next hands out an item to be handled. False: there is none, or as many are
// being handled as may be.
func (d *dealer[T]) next() (subject string, item T, ok bool) {
	at := slices.IndexFunc(d.ready, func(subject string) bool { return d.rules.room(d.busy, d.queues[subject].busy) })
	if at < 0 {
		return "", item, false
	}
	subject = d.ready[at]
	d.ready = slices.Delete(d.ready, at, at+1)
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
	if q.isReady || len(q.items) == 0 || q.busy >= d.rules.most(subject) {
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
