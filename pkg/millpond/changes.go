package millpond

import (
	"strconv"
	"time"
)

// unlimited is CouchDB's default of limit=. Its value shows in seq_interval.
const unlimited = 1_000_000_000_000_000

// defaultFeedTimeout is how long a waiting feed lasts without a change, unless it
// has a heartbeat; also CouchDB's upper bound and default heartbeat.
const defaultFeedTimeout = time.Minute

// changesQuery is what a _changes request asks for.
type changesQuery struct {
	feed        string
	since       uint64
	limit       int
	allLeaves   bool // style=all_docs
	descending  bool
	heartbeat   time.Duration // 0: none
	timeout     time.Duration
	includeDocs bool
	render      renderer
	seqInterval int // 0: every row has its seq
	filter      filter
	seqs        seqFormat
}

// changes answers GET and POST /db/_changes.
func (c *call) changes() error {
	info, err := c.db.Info(c.r.Context())
	if err != nil {
		return err
	}
	q, err := c.parseChanges(info)
	if err != nil {
		return err
	}
	f := &feed{call: c, query: q}
	switch q.feed {
	case "normal":
		return f.normal()
	case "longpoll":
		return f.longpoll()
	case "continuous", "live":
		f.rowEnd = "\n"
		return f.endless("application/json")
	case "eventsource":
		c.w.Header().Set("Cache-Control", "no-cache")
		f.events = true
		return f.endless("text/event-stream")
	}
	return badRequest("Supported `feed` types: normal, continuous, live, longpoll, eventsource")
}

func (c *call) parseChanges(info Info) (changesQuery, error) {
	q := changesQuery{
		feed: "normal", limit: unlimited, timeout: defaultFeedTimeout,
		allLeaves:   c.query.Get("style") == "all_docs",
		includeDocs: c.flag("include_docs"),
		render: renderer{
			conflicts: c.flag("conflicts"), attachments: c.flag("attachments"),
			encodingInfo: c.flag("att_encoding_info"),
		},
		seqs: newSeqFormat(c.server, c.name, info.Instance),
	}
	if feed := c.query.Get("feed"); feed != "" {
		q.feed = feed
	}
	q.descending = c.flag("descending") && q.feed == "normal" // nothing can be waited for backwards
	if style := c.query.Get("style"); style != "" && style != "all_docs" && style != "main_only" {
		return q, badRequest("Supported `style` values: main_only, all_docs")
	}
	if err := c.parsePosition(&q, info); err != nil {
		return q, err
	}
	if err := c.parseWaiting(&q); err != nil {
		return q, err
	}
	var err error
	q.filter, err = c.parseFilter()
	return q, err
}

// parsePosition reads since, limit and seq_interval.
func (c *call) parsePosition(q *changesQuery, info Info) (err error) {
	since := c.query.Get("since")
	if id := c.r.Header.Get("Last-Event-ID"); id != "" && q.feed == "eventsource" {
		since = id
	}
	switch since {
	case "":
	case "now":
		q.since = info.Seq
	default:
		if q.since, err = q.seqs.parse(since); err != nil {
			return err
		}
	}
	if text := c.query.Get("limit"); text != "" {
		if q.limit, err = strconv.Atoi(text); err != nil || q.limit < 0 {
			return queryError("Invalid value for integer: " + strconv.Quote(text))
		}
	}
	if text := c.query.Get("seq_interval"); text != "" {
		if q.seqInterval, err = strconv.Atoi(text); err != nil || q.seqInterval < 1 {
			return badRequest("invalid_seq_interval")
		}
	}
	return nil
}

// parseWaiting reads heartbeat and timeout, in milliseconds.
func (c *call) parseWaiting(q *changesQuery) error {
	switch text := c.query.Get("heartbeat"); text {
	case "":
	case "true":
		q.heartbeat = defaultFeedTimeout
	default:
		ms, err := strconv.Atoi(text)
		if err != nil {
			return badRequest("Invalid heartbeat value. Expecting a positive integer value (in milliseconds).")
		}
		if ms <= 0 {
			return badRequest("The heartbeat value should be a positive integer (in milliseconds).")
		}
		q.heartbeat = time.Duration(ms) * time.Millisecond
	}
	if text := c.query.Get("timeout"); text != "" {
		ms, err := strconv.Atoi(text)
		if err != nil || ms < 0 {
			return queryError("Invalid value for integer: " + strconv.Quote(text))
		}
		q.timeout = min(time.Duration(ms)*time.Millisecond, defaultFeedTimeout)
	}
	return nil
}

// hasSeq says whether the next row, with left rows of the limit to come, carries
// its seq: those where the rest of the limit is a multiple of the interval
// (verified on CouchDB 3.5.0).
func (q *changesQuery) hasSeq(left int) bool {
	return q.seqInterval == 0 || left%q.seqInterval == 0
}

// leaves are those that the style shows.
func (q *changesQuery) leaves(doc *Doc) []*Node {
	if !q.allLeaves || doc.Tree.Len() == 1 {
		return []*Node{doc.Tree.Winner()}
	}
	return doc.Tree.Leaves()
}

// appendRow appends one change as JSON, with the leaves that passed the filter.
// Whether it is deleted, and its document, are about the winner all the same.
func (q *changesQuery) appendRow(dst []byte, doc *Doc, leaves []*Node, left int) ([]byte, error) {
	dst = append(dst, `{"seq":`...)
	if q.hasSeq(left) {
		dst = q.seqs.append(dst, doc.Seq)
	} else {
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"id":`...)
	dst = appendString(dst, doc.ID)
	dst = append(dst, `,"changes":[`...)
	for i, leaf := range leaves {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendChange(dst, leaf)
	}
	dst = append(dst, ']')
	winner := doc.Tree.Winner()
	if winner.Deleted() {
		dst = append(dst, `,"deleted":true`...)
	}
	if q.includeDocs {
		dst = append(dst, `,"doc":`...)
		var err error
		if dst, err = q.render.appendDoc(dst, doc, winner, true); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func appendChange(dst []byte, node *Node) []byte {
	dst = append(dst, `{"rev":`...)
	dst = appendString(dst, node.Rev().String())
	return append(dst, '}')
}
