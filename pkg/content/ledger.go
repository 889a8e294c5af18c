package content

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	millracev1 "millrace/proto/millrace/v1"
)

var (
	// ErrNoRoom says that there is no room for contents at present. Whoever is told so and
	// asks again soon keeps his place in the queue.
	ErrNoRoom = errors.New("no room for the contents of large attachments at present")
	// ErrTooLarge says that contents are larger together than all the room that there is.
	ErrTooLarge = errors.New("larger than all the room for large attachments")
	// errBusy says that somebody else stores a content at present.
	errBusy = errors.New("somebody else stores the content at present")
	// errUnknown says that a content has no room: it was never reserved, or was removed.
	errUnknown = fmt.Errorf("%w: none is reserved", ErrNoRoom)
)

const (
	// demandTime is how long a demand keeps its place without being heard of: whoever
	// waits asks more often, and who has died must not hold up the others.
	demandTime = 30 * time.Second
	// releasedTime is how long a content that nobody needs is kept for who might want it.
	releasedTime = time.Hour
)

// Claim is a part that needs contents, of a run of a job.
type Claim struct {
	// Part is the part's id, the same whoever works on it.
	Part string
	Job  string
	// Run is 0 for a replay, which belongs to no run: what it needs is kept for an hour.
	Run uint64
}

// Wanted is a content that a part needs.
type Wanted struct {
	ID     string
	Length int64
}

// ledger is what of the room is whose. It is pure: [Store] keeps it in a bucket, where every
// change is atomic. What it upholds: the lengths of all contents together never exceed the
// capacity, and a content that a part of a run under way needs is not removed.
type ledger struct {
	*millracev1.ContentLedger
	capacity int64
	now      time.Time
}

// reserve makes room for all contents of a part, or for none, and keeps them for it. Where
// there is room only when others go, it dooms those and returns errDoomed: they have to be
// purged first. The error is [ErrNoRoom] where the part has to wait, which is noted, and
// [ErrTooLarge] where waiting does not help.
//
// Nobody waits while he keeps others waiting, which is what makes all come to their end: a
// part gets all of its room at once, and what has room needs no more. The first who waits is
// served first, or a large content would wait for ever behind small ones; except that a job
// that has half of all the room already does not hold up the others.
func (l ledger) reserve(c Claim, wanted []Wanted) error {
	wanted = distinct(wanted)
	total, lacking := int64(0), int64(0)
	for _, w := range wanted {
		total += w.Length
		e := l.find(w.ID)
		if e == nil {
			lacking += w.Length
		} else if e.Doomed {
			return errDoomed
		}
	}
	if total > l.capacity {
		return fmt.Errorf("%w: %d bytes of %d", ErrTooLarge, total, l.capacity)
	}
	if lacking > 0 {
		if err := l.admit(c, lacking, wanted); err != nil {
			return err
		}
	}
	l.leave(c.Part)
	l.pin(c, wanted)
	return nil
}

// errDoomed says that contents have to be purged before it can be gone on.
var errDoomed = errors.New("contents are to be purged first")

// admit decides whether a part gets room that it lacks.
func (l ledger) admit(c Claim, lacking int64, wanted []Wanted) error {
	room := l.capacity - l.used()
	idle := l.idle(wanted)
	possible := room
	for _, e := range idle {
		possible += int64(e.Length)
	}
	l.expireDemands()
	for _, d := range l.Waiting {
		if d.Pin == c.Part {
			break // those behind wait for this one
		}
		if !l.hasShare(d.Job, int64(d.Bytes)) {
			possible -= int64(d.Bytes)
		}
	}
	if lacking > possible || l.hasShare(c.Job, lacking) {
		l.wait(c, lacking)
		return ErrNoRoom
	}
	if lacking <= room {
		return nil
	}
	for _, e := range idle {
		e.Doomed = true
		if room += int64(e.Length); lacking <= room {
			break
		}
	}
	return errDoomed
}

// hasShare reports whether a job would have more than half of all the room, and has some
// already, while others wait.
func (l ledger) hasShare(job string, lacking int64) bool {
	if !slices.ContainsFunc(l.Waiting, func(d *millracev1.ContentDemand) bool { return d.Job != job }) {
		return false
	}
	of := map[string]bool{}
	for _, p := range l.Pins {
		if p.Job == job {
			of[p.Id] = true
		}
	}
	has := int64(0)
	for _, e := range l.Contents {
		if slices.ContainsFunc(e.Pins, func(p string) bool { return of[p] }) {
			has += int64(e.Length)
		}
	}
	return has > 0 && has+lacking > l.capacity/2
}

// used is how much room there is none of any more.
func (l ledger) used() (n int64) {
	for _, e := range l.Contents {
		n += int64(e.Length)
	}
	return n
}

// idle are the contents that nobody needs or stores, those first that have been so for longest.
// The wanted are not among them.
func (l ledger) idle(wanted []Wanted) []*millracev1.Content {
	var idle []*millracev1.Content
	for _, e := range l.Contents {
		needed := slices.ContainsFunc(wanted, func(w Wanted) bool { return w.ID == e.Id })
		if len(e.Pins) == 0 && !e.Doomed && !l.held(e) && !needed {
			idle = append(idle, e)
		}
	}
	slices.SortStableFunc(idle, func(a, b *millracev1.Content) int { return cmp.Compare(a.Touched, b.Touched) })
	return idle
}

func (l ledger) held(e *millracev1.Content) bool {
	return e.Holder != "" && e.HeldUntil > l.now.UnixNano()
}

func (l ledger) find(id string) *millracev1.Content {
	for _, e := range l.Contents {
		if e.Id == id {
			return e
		}
	}
	return nil
}

// pin keeps contents for a part; those that are not there yet get their room.
func (l ledger) pin(c Claim, wanted []Wanted) {
	if !slices.ContainsFunc(l.Pins, func(p *millracev1.ContentPin) bool { return p.Id == c.Part }) {
		l.Pins = append(l.Pins, &millracev1.ContentPin{Id: c.Part, Job: c.Job, Run: c.Run, Since: l.now.UnixNano()})
	}
	for _, w := range wanted {
		e := l.find(w.ID)
		if e == nil {
			e = &millracev1.Content{Id: w.ID, Length: uint64(w.Length)}
			l.Contents = append(l.Contents, e)
		}
		e.Touched = l.now.UnixNano()
		if !slices.Contains(e.Pins, c.Part) {
			e.Pins = append(e.Pins, c.Part)
		}
	}
}

// wait notes that a part waits for room, behind those that do already.
func (l ledger) wait(c Claim, lacking int64) {
	now := l.now.UnixNano()
	for _, d := range l.Waiting {
		if d.Pin == c.Part {
			d.Bytes = uint64(lacking)
			if l.now.Sub(time.Unix(0, d.Seen)) > demandTime/3 { // or the ledger would be written at each look
				d.Seen = now
			}
			return
		}
	}
	l.Waiting = append(l.Waiting, &millracev1.ContentDemand{Pin: c.Part, Job: c.Job, Bytes: uint64(lacking), Since: now, Seen: now})
}

// leave takes a part out of the queue.
func (l ledger) leave(part string) {
	l.Waiting = slices.DeleteFunc(l.Waiting, func(d *millracev1.ContentDemand) bool { return d.Pin == part })
}

func (l ledger) expireDemands() {
	before := l.now.Add(-demandTime).UnixNano()
	l.Waiting = slices.DeleteFunc(l.Waiting, func(d *millracev1.ContentDemand) bool { return d.Seen < before })
}

// release takes a part's hand off its contents.
func (l ledger) release(parts ...string) {
	gone := func(id string) bool { return slices.Contains(parts, id) }
	l.Pins = slices.DeleteFunc(l.Pins, func(p *millracev1.ContentPin) bool { return gone(p.Id) })
	l.Waiting = slices.DeleteFunc(l.Waiting, func(d *millracev1.ContentDemand) bool { return gone(d.Pin) })
	for _, e := range l.Contents {
		if had := len(e.Pins); had > 0 {
			e.Pins = slices.DeleteFunc(e.Pins, gone)
			if len(e.Pins) < had {
				e.Touched = l.now.UnixNano()
			}
		}
	}
}

// hold makes holder the one who stores a content, until until; done says that it is there
// already. The error is errBusy while it is another, and errUnknown where there is no room for it.
func (l ledger) hold(id, holder string, until time.Time) (done bool, err error) {
	e := l.find(id)
	switch {
	case e == nil || e.Doomed:
		return false, errUnknown
	case e.Complete:
		return true, nil
	case l.held(e) && e.Holder != holder:
		return false, errBusy
	}
	e.Holder, e.HeldUntil, e.Touched = holder, until.UnixNano(), l.now.UnixNano()
	return false, nil
}

// reach notes how far a content is stored.
func (l ledger) reach(id string, sequence uint64) {
	if e := l.find(id); e != nil && sequence > 0 {
		e.Reached = sequence
	}
}

// settle ends a holding; complete says that all of the content is there.
func (l ledger) settle(id, holder string, complete bool) {
	e := l.find(id)
	if e == nil || e.Holder != holder || e.Doomed {
		return
	}
	e.Holder, e.HeldUntil, e.Complete, e.Touched = "", 0, complete, l.now.UnixNano()
}

// reopen notes that a content that was there is there no more.
func (l ledger) reopen(id string) {
	if e := l.find(id); e != nil {
		e.Complete, e.Reached = false, 0
	}
}

// doomStale dooms what nobody has needed for long.
func (l ledger) doomStale() {
	before := l.now.Add(-releasedTime).UnixNano()
	for _, e := range l.idle(nil) {
		if e.Touched < before {
			e.Doomed = true
		}
	}
}

// doomed are the contents that are to be purged.
func (l ledger) doomed() (ids []string) {
	for _, e := range l.Contents {
		if e.Doomed {
			ids = append(ids, e.Id)
		}
	}
	return ids
}

// remove gives back the room of a content that was purged.
func (l ledger) remove(id string) {
	l.Contents = slices.DeleteFunc(l.Contents, func(e *millracev1.Content) bool { return e.Id == id && e.Doomed })
}

// distinct drops what is wanted twice: two attachments may have the same content.
func distinct(wanted []Wanted) []Wanted {
	var out []Wanted
	for _, w := range wanted {
		if !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return out
}
