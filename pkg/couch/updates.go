package couch

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Update says that something happened to one of a server's databases.
type Update struct {
	// Name of the database as the server has it, without escapes. Behind a proxy it may differ from
	// [DB.Name]; [Info].Name is what to compare it with.
	Name string
	// Type is "created", "updated" or "deleted".
	Type string
	// Seq is where the feed stands after the update.
	Seq Seq
}

// updateLine is a line of the feed: an update, its end, or an error.
type updateLine struct {
	Name    *string         `json:"db_name"`
	Type    string          `json:"type"`
	Seq     Seq             `json:"seq"`
	LastSeq *Seq            `json:"last_seq"`
	Err     json.RawMessage `json:"error"`
	Reason  json.RawMessage `json:"reason"`
}

// UpdatesSeq is where the feed _db_updates of the database's server stands: what is announced later,
// [DB.Updates] since it gives. CouchDB has the feed where there is a database _global_changes (404
// without), and for administrators only (401 or 403); PouchDB has none.
//
// An update is announced some time after it is durable: CouchDB gathers for up to 525 ms
// ([global_changes] max_event_delay and max_write_delay), and a server that is killed forgets what it had
// gathered. With [global_changes] update_db=false it announces nothing, ever, and does not say so.
func (db *DB) UpdatesSeq(ctx context.Context) (Seq, error) {
	r := db.updatesRequest()
	// With limit=0 CouchDB counts from the beginning, unless since=now is there.
	r.query = url.Values{"since": {"now"}, "limit": {"0"}}
	var answer struct {
		LastSeq *Seq `json:"last_seq"`
	}
	err := db.call(ctx, r, func(body io.Reader) error {
		if err := into(&answer)(body); err != nil {
			return err
		}
		if answer.LastSeq == nil || answer.LastSeq.IsNull() {
			return fmt.Errorf("%w: no last_seq", errShape)
		}
		return nil
	})
	if err != nil {
		return Seq{}, err
	}
	return *answer.LastSeq, nil
}

// Updates follows the feed _db_updates of the database's server, from since on: each database is named
// once for each type of update, at its newest. The caller closes the result.
//
// CouchDB answers with nothing at all before the first update or heartbeat, and so Updates returns then.
// The heartbeat is a third of [Options].ConnectionTimeout; onHeartbeat, which may be nil, is called
// by [Updates.Next] at each, in Next's goroutine.
func (db *DB) Updates(ctx context.Context, since Seq, onHeartbeat func()) (*Updates, error) {
	r := db.updatesRequest()
	beat := max(time.Millisecond, db.opts.ConnectionTimeout/3)
	r.query = url.Values{
		"feed": {string(FeedContinuous)}, "since": {since.String()},
		"heartbeat": {strconv.FormatInt(beat.Milliseconds(), 10)},
	}
	r.header.Set("Accept-Encoding", "identity") // as in changesRequest
	resp, err := db.open(asFeed(ctx), r)
	if err != nil {
		return nil, err
	}
	return &Updates{body: resp.Body, request: r, feed: newLineFeed(resp.Body, onHeartbeat), lastSeq: NullSeq()}, nil
}

func (db *DB) updatesRequest() *request {
	return &request{
		method: http.MethodGet, url: db.server.at(db.server.root.EscapedPath() + "/_db_updates"),
		header: http.Header{}, ofServer: true,
	}
}

// Updates is an open feed of a server's updates. It is not safe for concurrent use, but for Close, which
// unblocks Next.
type Updates struct {
	body    io.ReadCloser
	request *request
	feed    *lineFeed
	lastSeq Seq
	err     error
}

// Close ends the feed.
func (u *Updates) Close() error { return u.body.Close() }

// LastSeq is where the feed ended, null before its end.
func (u *Updates) LastSeq() Seq { return u.lastSeq }

// Next returns the next update. At the feed's regular end it returns io.EOF, after which LastSeq is
// known; a feed that ends otherwise gives a [CutError]. Errors stay.
func (u *Updates) Next() (Update, error) {
	if u.err != nil {
		return Update{}, u.err
	}
	l, err := u.line()
	switch {
	case err != nil:
		u.err = u.request.cut(err)
	case l.Name != nil:
		return Update{Name: *l.Name, Type: l.Type, Seq: l.Seq}, nil
	case l.LastSeq != nil:
		u.lastSeq, u.err = *l.LastSeq, io.EOF
	case l.Err != nil:
		u.err = u.request.cut(&DocError{Err: plainText(l.Err), Reason: plainText(l.Reason)})
	default:
		u.err = u.request.cut(fmt.Errorf("%w: an update without the name of a database", errShape))
	}
	return Update{}, u.err
}

func (u *Updates) line() (updateLine, error) {
	l := updateLine{Seq: NullSeq()}
	text, err := u.feed.text()
	if err == nil {
		err = json.Unmarshal(text, &l)
	}
	return l, err
}
