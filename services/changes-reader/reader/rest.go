package reader

import (
	"context"
	"errors"
	"time"

	"millrace/pkg/couch"
	"millrace/services/changes-reader/quiet"
)

// errQuiet says that a live feed was closed because there was nothing in it.
var errQuiet = errors.New("the feed is quiet")

// quietMost is how long a feed has to be quiet at most, whatever it was woken for in vain.
const quietMost = time.Hour

// rest says when the reader of a live feed may sleep. The methods of a nil one do nothing.
type rest struct {
	seat *quiet.Seat
	// after is how long the feed has to be quiet now: least, and twice as much each time that it was woken
	// by its server and there was nothing in it. That is so where the source filters for the feed, or
	// a proxy shows one of two databases with the same name.
	least, after time.Duration
	moved        time.Time // when there was something in the feed, or it was opened
	awoken       bool      // by the server, and nothing has come since
	woken        bool      // with others, perhaps: its turn to open the feed comes
}

// begin is where the feed is read now, from what follows on.
func (r *rest) begin(db *couch.DB) source {
	r.seat.At(db)
	if r.woken {
		r.woken = false
		return inTurn{db, r.seat}
	}
	return db
}

// opened says that the live feed is open.
func (r *rest) opened() {
	if r != nil {
		r.moved = time.Now()
	}
}

// stir says that there was something in the feed.
func (r *rest) stir() {
	if r != nil {
		r.seat.Busy()
		r.moved, r.awoken, r.after = time.Now(), false, r.least
	}
}

// due reports whether the feed has been quiet for long enough, and the server will say when it
// is not any more.
func (r *rest) due() bool { return time.Since(r.moved) >= r.after && r.seat.Quiet() }

// lieDown says that the feed is closed.
func (r *rest) lieDown() {
	if r.awoken {
		r.after = min(2*r.after, quietMost)
	}
}

// inTurn is a source whose feeds are opened in turn with those of others.
type inTurn struct {
	source
	seat *quiet.Seat
}

// Changes returns when the server has begun to answer, and another one may ask.
func (t inTurn) Changes(ctx context.Context, o couch.ChangesOptions) (*couch.Changes, error) {
	opened, err := t.seat.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer opened()
	return t.source.Changes(ctx, o)
}

// sleep waits until there may be something to read again.
func (o *ownership) sleep(ctx context.Context, db *couch.DB, p *pass) error {
	r := o.rest
	r.lieDown()
	info, err := db.Info(ctx) // behind a proxy the server may have another name for the database
	if err != nil {
		return err
	}
	p.db = inTurn{db, r.seat}
	r.awoken, err = r.seat.Sleep(ctx, info.Name, func(ctx context.Context) (rows, moved bool, err error) {
		read, before := p.read, o.batch.ordinal
		err = p.finite(ctx, false)
		return p.read > read, o.batch.ordinal > before, err
	})
	r.woken = true
	return err
}
