package couch

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Feed is how _changes ends.
type Feed string

// The feeds.
const (
	// FeedNormal ends with the last change there is.
	FeedNormal Feed = "normal"
	// FeedLongpoll waits for a change if there is none, then ends.
	FeedLongpoll Feed = "longpoll"
	// FeedContinuous goes on until someone ends it.
	FeedContinuous Feed = "continuous"
)

// Style is which revisions a row lists.
type Style string

// The styles.
const (
	// StyleAllDocs lists all leaves, as replication needs them.
	StyleAllDocs Style = "all_docs"
	// StyleMainOnly lists the winning revision only.
	StyleMainOnly Style = "main_only"
)

// ChangesOptions are _changes' parameters.
type ChangesOptions struct {
	Feed  Feed  // default FeedNormal
	Since Seq   // rows after this; default the beginning
	Style Style // default StyleAllDocs
	// Heartbeat is how often the server sends an empty line while it has nothing else, so
	// that the connection is seen to live. Default: a third of
	// [Options].ConnectionTimeout, unless Timeout is set.
	Heartbeat time.Duration
	// Timeout makes the server end a continuous or longpoll feed that has been quiet
	// for so long. Zero is the server's default. PouchDB ignores it in continuous feeds.
	Timeout time.Duration
	// Limit is the most rows to send, zero for no limit.
	Limit int
	// SeqInterval makes the server compute a seq for every so many rows only (the
	// others have [NullSeq]), which halves its work. Zero for every row.
	SeqInterval int
	// IncludeDocs adds each row's winning revision as [Row].Doc.
	IncludeDocs bool

	// DocIDs, Selector and Filter choose what is sent; at most one of them may be set.
	// An empty DocIDs that is not nil chooses nothing.
	DocIDs []string
	// Selector is a Mango selector in JSON. PouchDB has none.
	Selector []byte
	// Filter is the name of a filter function (ddoc/name) or of a built-in one
	// (_view, _design).
	Filter string
	// Params are passed to the filter. They do not replace the parameters above.
	Params url.Values

	// OnHeartbeat is called by [Changes.Next] at each heartbeat of a continuous
	// feed, in Next's goroutine.
	OnHeartbeat func()
}

// Changes reads the database's _changes feed. The caller closes the result.
// Opening is retried; a feed that breaks later is the caller's to open again, with
// the last seq that it has got.
func (db *DB) Changes(ctx context.Context, o ChangesOptions) (*Changes, error) {
	r, err := db.changesRequest(o)
	if err != nil {
		return nil, err
	}
	resp, err := db.open(asFeed(ctx), r)
	if err != nil {
		return nil, err
	}
	return newChanges(resp.Body, r, o), nil
}

// Pending is how many rows the feed has after since: _changes with no rows. It is
// -1 where the server does not count (PouchDB, CouchDB before 2).
func (db *DB) Pending(ctx context.Context, since Seq) (int64, error) {
	r := db.request(http.MethodGet, "_changes")
	r.query = url.Values{"since": {since.String()}, "limit": {"0"}, "style": {string(StyleAllDocs)}}
	pending := int64(-1)
	err := db.call(ctx, r, func(body io.Reader) error {
		c := newChanges(io.NopCloser(body), r, ChangesOptions{})
		for {
			_, err := c.Next()
			if err == io.EOF {
				pending = c.Pending()
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	return pending, err
}

func (db *DB) changesRequest(o ChangesOptions) (*request, error) {
	r := db.request(http.MethodGet, "_changes")
	r.query = db.changesQuery(o)
	chosen := 0
	if o.DocIDs != nil {
		chosen++
		r.query.Set("filter", "_doc_ids")
		body := append(appendStrings([]byte(`{"doc_ids":`), o.DocIDs), '}')
		r.method, r.body = http.MethodPost, bytesBody(body)
	}
	if o.Selector != nil {
		chosen++
		r.query.Set("filter", "_selector")
		r.method, r.body = http.MethodPost, bytesBody([]byte(`{"selector":`), o.Selector, []byte(`}`))
	}
	if o.Filter != "" {
		chosen++
		r.query.Set("filter", o.Filter)
	}
	if chosen > 1 {
		return nil, fmt.Errorf("changes of %s: doc ids, selector and filter exclude each other", db)
	}
	for name, values := range o.Params {
		if !r.query.Has(name) {
			r.query[name] = slices.Clone(values)
		}
	}
	if o.Feed == FeedContinuous {
		// A proxy that compresses holds rows back until its buffer is full.
		r.header.Set("Accept-Encoding", "identity")
	}
	return r, nil
}

func (db *DB) changesQuery(o ChangesOptions) url.Values {
	if o.Feed == "" {
		o.Feed = FeedNormal
	}
	if o.Style == "" {
		o.Style = StyleAllDocs
	}
	if o.Heartbeat == 0 && o.Timeout == 0 {
		o.Heartbeat = max(time.Millisecond, db.opts.ConnectionTimeout/3)
	}
	q := url.Values{"feed": {string(o.Feed)}, "style": {string(o.Style)}, "since": {o.Since.String()}}
	positive := map[string]int64{
		"heartbeat":    o.Heartbeat.Milliseconds(),
		"timeout":      o.Timeout.Milliseconds(),
		"limit":        int64(o.Limit),
		"seq_interval": int64(o.SeqInterval),
	}
	maps.DeleteFunc(positive, func(_ string, n int64) bool { return n <= 0 })
	for name, n := range positive {
		q.Set(name, strconv.FormatInt(n, 10))
	}
	if o.IncludeDocs {
		q.Set("include_docs", "true")
	}
	return q
}
