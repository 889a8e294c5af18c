// Package bodies knows what stands in BODIES of a feed, so that a revision that several targets
// want is read from the source once and crosses the broker once (invariant 4): a batch of a job
// takes references to what was fetched for another one, and waits for what another one is
// fetching.
//
// All of it is in memory, is bounded, and can be done without (invariant 6): what is forgotten is
// fetched again. Looking up, claiming and answering cost a map's access for each revision.
package bodies

import (
	"sync"
	"time"

	millracev1 "millrace/proto/millrace/v1"
)

// Revision is one revision of a document.
type Revision struct{ ID, Rev string }

// Message is a message of BODIES.
type Message struct {
	// Sequence is its place in the stream; Prefix and Number are its id.
	Sequence uint64
	Prefix   string
	Number   uint32
}

// Leaf is one leaf revision, as it stands in BODIES. It is shared, and must not be changed.
type Leaf struct {
	// Doc is the document in Message.
	Doc     *millracev1.DocRef
	Message *Message
	// Multipart is the document with the attachments that follow it, each reference with its
	// prefix; Doc is nil then, and Message the oldest of them.
	Multipart *millracev1.MultipartDoc
	// Large is a document that is fetched as a part of its own by each job, because of its
	// attachments; nothing of it stands in BODIES.
	Large *Revision
	// Attached says that the document has attachments: what came of them depends on what the
	// target has of its ancestors.
	Attached bool
	// Deleted says that the leaf is a tombstone.
	Deleted bool
}

// Revision is the leaf's own.
func (l *Leaf) Revision() Revision {
	switch {
	case l.Large != nil:
		return *l.Large
	case l.Multipart != nil:
		d := l.Multipart.Doc.Docs[0]
		return Revision{d.Id, d.Rev}
	}
	return Revision{l.Doc.Id, l.Doc.Rev}
}

// Question is what a batch asks for.
type Question struct {
	Revision
	// Has is what the target has of the document's ancestors, as a key: only who has the same
	// gets the same attachments.
	Has string
}

// Options bound an index.
type Options struct {
	// Memory is about how many bytes it takes. Default 32 MiB, for some 100,000 revisions.
	Memory int64
	// Age is after how long what stands in BODIES is not referred to any more. Required: that of
	// the stream.
	Age time.Duration
	// Now is the clock; nil for the system's.
	Now func() time.Time
}

// DefaultMemory is what an index takes unless it is told otherwise.
const DefaultMemory = 32 << 20

// Index is what stands in BODIES of all feeds that one process fetches for. It is safe for
// concurrent use.
type Index struct {
	memory int64
	age    time.Duration
	now    func() time.Time

	mu    sync.Mutex
	feeds map[string]*feed
	size  int64
	floor uint64 // what stands below it in the stream is gone
}

// feed is what is known of one feed's bodies.
type feed struct {
	answers map[Revision]*answer // the newest of each revision that was asked for
	flights map[Revision]*Flight
	order   []*answer // oldest first, from head on; some are replaced by newer ones
	head    int
	size    int64
	dropped bool // the feed is no more: nothing is kept of it
}

// answer is what the source returned for a revision.
type answer struct {
	asked  Revision
	has    string // Question.Has; anything where no leaf has attachments
	leaves []*Leaf
	at     time.Time
	size   int64
	other  *answer // to the same revision, for another Has
	gone   bool    // it is no more in answers
}

// New returns an empty index.
func New(o Options) *Index {
	if o.Memory <= 0 {
		o.Memory = DefaultMemory
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Index{memory: o.Memory, age: o.Age, now: o.Now, feeds: map[string]*feed{}}
}

// Drop forgets a feed that is no more. Who waits is told by whoever fetches.
func (x *Index) Drop(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if f := x.feeds[id]; f != nil {
		x.drop(id, f)
	}
}

func (x *Index) drop(id string, f *feed) {
	f.dropped = true
	x.size -= f.size
	delete(x.feeds, id)
}

// Gone says that what stands below a sequence is not in the stream any more. It may be lower than
// the last time: sequences begin anew when the broker's disk is lost.
func (x *Index) Gone(below uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.floor = below
}

// Expire forgets what is too old to be referred to: feeds that are quiet keep nothing.
func (x *Index) Expire() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, f := range x.feeds {
		for f.head < len(f.order) && x.stale(f.order[f.head]) {
			x.evict(f)
		}
		if len(f.answers) == 0 && len(f.flights) == 0 {
			x.drop(id, f)
		}
	}
}

// Memory is about how many bytes the index takes.
func (x *Index) Memory() int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.size
}

// stale reports whether some of an answer may be gone from the stream.
func (x *Index) stale(a *answer) bool {
	if x.now().Sub(a.at) >= x.age {
		return true
	}
	for _, l := range a.leaves {
		if l.Message != nil && l.Message.Sequence < x.floor {
			return true
		}
	}
	return false
}

func (x *Index) feed(id string) *feed {
	f := x.feeds[id]
	if f == nil {
		f = &feed{answers: map[Revision]*answer{}, flights: map[Revision]*Flight{}}
		x.feeds[id] = f
	}
	return f
}

// find returns what is known to be the answer to a question.
func (x *Index) find(f *feed, q Question) *answer {
	for a := f.answers[q.Revision]; a != nil; a = a.other {
		if !fits(a.leaves, a.has, q.Has) {
			continue
		}
		if x.stale(a) {
			return nil
		}
		return a
	}
	return nil
}

// fits reports whether what was returned to one who has something is what another one would get.
func fits(leaves []*Leaf, had, has string) bool {
	if had == has {
		return true
	}
	for _, l := range leaves {
		if l.Attached {
			return false
		}
	}
	return true
}

// put adds an answer, in place of what is known, and makes room for it. limit is how much the
// feed may take.
func (x *Index) put(f *feed, q Question, leaves []*Leaf, limit int64) {
	if f.dropped {
		return
	}
	a := &answer{asked: q.Revision, has: q.Has, leaves: leaves, at: x.now(), size: sizeOf(q, leaves)}
	var others *answer
	for old := f.answers[q.Revision]; old != nil; {
		next := old.other
		if old.has == a.has {
			old.gone = true
		} else {
			old.other, others = others, old
		}
		old = next
	}
	a.other = others
	f.answers[q.Revision] = a
	f.order = append(f.order, a)
	f.size += a.size
	x.size += a.size
	for f.size > limit {
		x.evict(f)
	}
	for x.size > x.memory { // some at once: looking for the largest costs as much as there are feeds
		most := x.largest()
		for enough := most.size - x.memory/8; most.size > max(enough, 0); {
			x.evict(most)
		}
	}
}

// largest is the feed that takes most.
func (x *Index) largest() (most *feed) {
	for _, f := range x.feeds {
		if most == nil || f.size > most.size {
			most = f
		}
	}
	return most
}

// evict forgets the oldest answer of a feed.
func (x *Index) evict(f *feed) {
	a := f.order[f.head]
	f.order[f.head] = nil
	f.head++
	if f.head > 1024 && f.head > len(f.order)/2 {
		f.order, f.head = append([]*answer(nil), f.order[f.head:]...), 0
	}
	f.size -= a.size
	x.size -= a.size
	if !a.gone {
		f.remove(a)
	}
}

// remove takes an answer out of those that are found.
func (f *feed) remove(a *answer) {
	a.gone = true
	first := f.answers[a.asked]
	if first == a {
		if a.other == nil {
			delete(f.answers, a.asked)
		} else {
			f.answers[a.asked] = a.other
		}
		return
	}
	for b := first; b != nil; b = b.other {
		if b.other == a {
			b.other = a.other
		}
	}
}

// What an answer takes, about: its entry in the map, its place in the order, itself and the
// references, the strings of which are shared.
const (
	answerSize = 288
	leafSize   = 208
)

func sizeOf(q Question, leaves []*Leaf) int64 {
	n := answerSize + len(q.ID) + len(q.Rev) + len(q.Has)
	for _, l := range leaves {
		n += leafSize
		if l.Multipart != nil {
			n += 256 + 192*len(l.Multipart.Attachments)
			for _, a := range l.Multipart.Attachments {
				n += 128*len(a.Chunks) + len(a.Name) + len(a.ContentType)
			}
		}
	}
	return int64(n)
}
