package millpond

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"millrace/pkg/revtree"
)

// globalChanges is the database in which a server writes what happens to its others. Without it nothing is
// announced, and _db_updates is not there.
const globalChanges = "_global_changes"

// announced is a database whose updates are announced.
type announced struct {
	Database
	server *Server
	name   string
}

// Update implements Database.
func (a announced) Update(ctx context.Context, id string, edit func(Tree) (Tree, error)) error {
	changed := false
	err := a.Database.Update(ctx, id, func(tree Tree) (Tree, error) {
		tree, err := edit(tree)
		changed = err == nil
		return tree, err
	})
	if err != nil || !changed {
		return err
	}
	return a.server.announce(ctx, "updated", a.name)
}

// announce notes what happened to a database, in the document that CouchDB notes it in.
func (s *Server) announce(ctx context.Context, event, name string) error {
	if s.opts.SilentUpdates || name == globalChanges {
		return nil
	}
	db, err := s.store.Open(ctx, globalChanges)
	if err == nil {
		err = db.Update(ctx, event+":"+name, func(tree Tree) (Tree, error) {
			path := revtree.Path{Start: 1}
			if tree.Len() > 0 {
				path.Start = tree.Winner().Rev().Pos + 1
			}
			content := &Revision{}
			path.IDs = []string{newHash(false, path, content)}
			fresh, _, _ := Tree{}.Merge(path, false, content) // nobody wants its history
			return fresh, nil
		})
	}
	if errors.Is(err, ErrNoDatabase) {
		return nil
	}
	return err
}

// dbUpdates answers GET /_db_updates: the changes of _global_changes, in a form of their own.
func (c *call) dbUpdates() error {
	q, err := c.parseUpdates()
	if err != nil {
		return err
	}
	if c.db, err = c.server.store.Open(c.r.Context(), globalChanges); err != nil {
		return err
	}
	info, err := c.db.Info(c.r.Context())
	if err != nil {
		return err
	}
	q.seqs = newSeqFormat(c.server, globalChanges, info.Instance)
	switch since := c.query.Get("since"); since {
	case "":
	case "now":
		q.since = info.Seq
	default:
		if q.since, err = q.seqs.parse(since); err != nil {
			return err
		}
	}
	f := &feed{call: c, query: q, updates: true}
	switch q.feed {
	case "normal":
		return f.normal()
	case "longpoll":
		return f.longpoll()
	case "continuous":
		f.rowEnd = "\n"
		return f.endless("application/json")
	case "eventsource":
		c.w.Header().Set("Cache-Control", "no-cache")
		f.events = true
		return f.endless("text/event-stream")
	}
	return badRequest("Supported `feed` types: normal, continuous, longpoll, eventsource")
}

// parseUpdates reads the parameters but for since.
func (c *call) parseUpdates() (changesQuery, error) {
	q := changesQuery{
		feed: "normal", limit: unlimited, timeout: defaultFeedTimeout,
		descending: c.query.Get("descending") == "true",
	}
	if feed := c.query.Get("feed"); feed != "" {
		q.feed = feed
	}
	q.descending = q.descending && q.feed == "normal"
	for name, set := range map[string]func(n int){
		"limit":     func(n int) { q.limit = n },
		"heartbeat": func(n int) { q.heartbeat = time.Duration(n) * time.Millisecond },
		"timeout":   func(n int) { q.timeout = min(time.Duration(n)*time.Millisecond, defaultFeedTimeout) },
	} {
		text := c.query.Get(name)
		switch {
		case text == "", name == "heartbeat" && text == "false":
			continue
		case name == "heartbeat" && text == "true":
			q.heartbeat = defaultFeedTimeout
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return q, badRequest("invalid_integer")
		}
		set(n)
	}
	return q, nil
}

// appendUpdate appends a change of _global_changes as an update of a database.
func (q *changesQuery) appendUpdate(dst []byte, doc *Doc) []byte {
	event, name, _ := strings.Cut(doc.ID, ":")
	dst = append(dst, `{"db_name":`...)
	dst = appendString(dst, name)
	dst = append(dst, `,"type":`...)
	dst = appendString(dst, event)
	dst = append(dst, `,"seq":`...)
	dst = q.seqs.append(dst, doc.Seq)
	return append(dst, '}')
}
