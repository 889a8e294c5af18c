package millpond

import (
	"context"
	"errors"
	"strings"
	"time"
)

// readAhead is how many changes are taken from the store at a time.
const readAhead = 256

// feed is one answer to a _changes request.
type feed struct {
	call   *call
	query  changesQuery
	out    *stream
	rowEnd string // after each row, in the feeds without a list
	events bool   // eventsource
	// updates says that the rows are of _global_changes and the feed is _db_updates.
	updates bool

	rows int // written
	left int // of the limit
	seq  uint64
	docs []*Doc
}

// normal answers with the changes that there are.
func (f *feed) normal() error {
	f.begin("application/json")
	f.out.buf = append(f.out.buf, "{\"results\":[\n"...)
	if err := f.pass(); err != nil {
		return f.out.abort(err)
	}
	return f.endList()
}

// longpoll waits for the first change if there is none.
func (f *feed) longpoll() error {
	f.begin("application/json")
	f.out.buf = append(f.out.buf, "{\"results\":[\n"...)
	err := f.watch(func() bool { return f.rows == 0 })
	if err != nil {
		return f.out.abort(err)
	}
	return f.endList()
}

// endless writes changes one by one, for ever or until the limit or a timeout.
func (f *feed) endless(contentType string) error {
	f.begin(contentType)
	if !f.updates {
		f.out.send() // the status, before the first change
	}
	err := f.watch(func() bool { return true })
	if err != nil {
		return f.out.abort(err)
	}
	if f.events {
		f.out.send()
		return nil
	}
	return f.endLine()
}

func (f *feed) begin(contentType string) {
	f.seq, f.left = f.query.since, f.query.limit
	f.out = f.call.stream(contentType)
}

// pass writes the changes after f.seq that there are now.
func (f *feed) pass() error {
	ctx := f.call.r.Context()
	info, err := f.call.db.Info(ctx)
	if err != nil {
		return err
	}
	at := f.seq
	if f.query.descending {
		at = 0
	}
	for f.left > 0 {
		f.docs, err = f.call.db.Changes(ctx, at, readAhead, f.query.descending, f.docs[:0])
		if err != nil {
			return err
		}
		if len(f.docs) == 0 {
			if !f.query.descending {
				f.seq = max(f.seq, info.Seq) // over changes purged or replaced
			}
			break
		}
		at = f.docs[len(f.docs)-1].Seq
		if err := f.write(f.docs); err != nil {
			return err
		}
		if ctx.Err() != nil || f.out.gone {
			return context.Canceled
		}
	}
	clear(f.docs[:cap(f.docs)]) // keep no document alive while waiting
	return nil
}

// write writes the rows of some documents and moves f.seq over them.
func (f *feed) write(docs []*Doc) error {
	for _, doc := range docs {
		if f.left == 0 {
			return nil
		}
		f.seq = doc.Seq
		if f.updates && !strings.Contains(doc.ID, ":") {
			continue
		}
		leaves, err := f.query.filter.of(doc, f.query.leaves(doc))
		if err != nil {
			return err
		}
		if len(leaves) == 0 {
			continue
		}
		if err := f.writeRow(doc, leaves); err != nil {
			return err
		}
		f.out.flushIfFull()
	}
	return nil
}

func (f *feed) writeRow(doc *Doc, leaves []*Node) (err error) {
	switch {
	case f.events:
		f.out.buf = append(f.out.buf, "data: "...)
	case f.rowEnd == "" && f.rows > 0:
		f.out.buf = append(f.out.buf, f.separator()...)
	}
	if f.updates && !f.events { // CouchDB shows the rows themselves in an eventsource
		f.out.buf = f.query.appendUpdate(f.out.buf, doc)
	} else {
		f.out.buf, err = f.query.appendRow(f.out.buf, doc, leaves, f.left)
	}
	f.rows++
	f.left--
	f.out.buf = append(f.out.buf, f.rowEnd...)
	if f.events {
		f.out.buf = append(f.out.buf, "\nid: "...)
		f.out.buf = f.query.seqs.append(f.out.buf, doc.Seq)
		f.out.buf = append(f.out.buf, "\n\n"...)
	}
	return err
}

// watch writes changes as they come while more says so, until the limit, the
// timeout, the end of the client, the database or the server.
func (f *feed) watch(more func() bool) error {
	for {
		before := f.rows
		if err := f.pass(); err != nil {
			return endOfDatabase(err)
		}
		if f.left == 0 || !more() {
			return nil
		}
		if f.rows > before || len(f.out.buf) > 0 {
			f.out.send()
		}
		goOn, err := f.await()
		if err != nil || !goOn {
			return err
		}
	}
}

// endOfDatabase: a feed whose database is deleted ends in good order.
func endOfDatabase(err error) error {
	if errors.Is(err, ErrNoDatabase) {
		return nil
	}
	return err
}

// await waits for a change, with heartbeats. goOn is false when the feed is over.
func (f *feed) await() (goOn bool, err error) {
	changed := f.call.db.Changed(f.seq)
	period := f.query.timeout
	if f.query.heartbeat > 0 {
		period = f.query.heartbeat
	}
	timer := time.NewTimer(period)
	defer timer.Stop()
	for {
		select {
		case <-changed:
			return true, nil
		case <-f.call.r.Context().Done():
			return false, context.Canceled
		case <-f.call.server.ctx.Done():
			return false, nil
		case <-timer.C:
			if f.query.heartbeat == 0 {
				return false, nil
			}
			f.beat()
			timer.Reset(period)
		}
	}
}

// beat shows the client that the feed is alive.
func (f *feed) beat() {
	if f.events {
		f.out.buf = append(f.out.buf, "event: heartbeat\ndata: \n"...)
	}
	f.out.buf = append(f.out.buf, '\n')
	f.out.send()
}

// endList ends the answer of a normal or longpoll feed.
func (f *feed) endList() error {
	f.out.buf = append(f.out.buf, "\n],\n"...)
	f.appendLast()
	f.out.buf = append(f.out.buf, "}\n"...)
	f.out.flush()
	return nil
}

// endLine ends the answer of a continuous feed.
func (f *feed) endLine() error {
	f.out.buf = append(f.out.buf, '{')
	f.appendLast()
	f.out.buf = append(f.out.buf, "}\n"...)
	f.out.send()
	return nil
}

// separator stands between the rows of a list.
func (f *feed) separator() string {
	if f.updates {
		return ",\r\n"
	}
	return ",\n"
}

// appendLast appends last_seq and pending.
func (f *feed) appendLast() {
	f.out.buf = append(f.out.buf, `"last_seq":`...)
	f.out.buf = f.query.seqs.append(f.out.buf, f.seq)
	if f.updates {
		return
	}
	f.out.buf = append(f.out.buf, `,"pending":`...)
	pending, _ := f.call.db.Pending(f.call.r.Context(), f.seq) // gone with the database: none
	f.out.buf = appendInt(f.out.buf, pending)
}
