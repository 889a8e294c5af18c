package millpond

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
)

// memoryDB is a Database in memory. Documents are immutable and replaced whole,
// so the lock is held to find or to swap one, never while one is read.
type memoryDB struct {
	mu       sync.RWMutex
	info     Info
	docs     map[string]*Doc
	changes  changeLog
	ids      idIndex
	locals   map[string]*Local
	security []byte
	dropped  bool
	changed  chan struct{} // closed at the next change; nil while nobody waits
}

var _ Database = (*memoryDB)(nil)

func newMemoryDB(instance string) *memoryDB {
	return &memoryDB{
		info:   Info{Instance: instance, RevsLimit: DefaultRevsLimit},
		docs:   make(map[string]*Doc),
		locals: make(map[string]*Local),
	}
}

// drop makes every later use fail and ends the feeds.
func (db *memoryDB) drop() {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.dropped = true
	db.docs, db.changes, db.ids, db.locals = nil, changeLog{}, idIndex{}, nil
	db.wake()
}

// wake tells those who wait for a change. The lock is held.
func (db *memoryDB) wake() {
	if db.changed != nil {
		close(db.changed)
		db.changed = nil
	}
}

// read runs fn under the read lock.
func (db *memoryDB) read(fn func()) error {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.dropped {
		return ErrNoDatabase
	}
	fn()
	return nil
}

// write runs fn under the lock.
func (db *memoryDB) write(fn func() error) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.dropped {
		return ErrNoDatabase
	}
	return fn()
}

// Info implements Database.
func (db *memoryDB) Info(context.Context) (info Info, err error) {
	err = db.read(func() { info = db.info })
	return info, err
}

// Doc implements Database.
func (db *memoryDB) Doc(_ context.Context, id string) (doc *Doc, err error) {
	err = db.read(func() { doc = db.docs[id] })
	return doc, err
}

// Update implements Database.
func (db *memoryDB) Update(_ context.Context, id string, edit func(Tree) (Tree, error)) error {
	return db.write(func() error {
		old := db.docs[id]
		var tree Tree
		if old != nil {
			tree = old.Tree
		}
		tree, err := edit(tree)
		if errors.Is(err, ErrUnchanged) {
			return nil
		}
		if err != nil {
			return err
		}
		db.replace(id, old, tree)
		return nil
	})
}

// replace puts a document's new tree in the place of old. The lock is held.
func (db *memoryDB) replace(id string, old *Doc, tree Tree) {
	db.info.Seq++
	if old != nil {
		id = old.ID // one copy of the text is enough
		db.count(old.Tree, -1)
		db.changes.remove(old.Seq)
	}
	if tree.Len() == 0 {
		delete(db.docs, id)
		db.ids.remove(id)
		db.info.Purges++
		db.wake()
		return
	}
	doc := &Doc{ID: id, Seq: db.info.Seq, Tree: tree.Stem(db.info.RevsLimit)}
	if old == nil {
		db.ids.add(id)
	}
	db.docs[id] = doc
	db.changes.add(doc)
	db.count(doc.Tree, 1)
	db.addSize(doc.Tree)
	db.wake()
}

// count keeps the numbers of documents.
func (db *memoryDB) count(tree Tree, by int) {
	if tree.Winner().Deleted() {
		db.info.Deleted += by
	} else {
		db.info.Docs += by
	}
}

func (db *memoryDB) addSize(tree Tree) {
	if rev, ok := tree.Winner().Value(); ok {
		db.info.Bytes += int64(len(rev.Body))
	}
}

// Changes implements Database.
func (db *memoryDB) Changes(_ context.Context, seq uint64, limit int, descending bool, dst []*Doc) (docs []*Doc, err error) {
	err = db.read(func() {
		if descending {
			docs = db.changes.before(seq, limit, dst)
		} else {
			docs = db.changes.after(seq, limit, dst)
		}
	})
	return docs, err
}

// Pending implements Database.
func (db *memoryDB) Pending(_ context.Context, seq uint64) (n int, err error) {
	err = db.read(func() { n = db.changes.countAfter(seq) })
	return n, err
}

// Changed implements Database.
func (db *memoryDB) Changed(seq uint64) <-chan struct{} {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.dropped || db.info.Seq > seq {
		now := make(chan struct{})
		close(now)
		return now
	}
	if db.changed == nil {
		db.changed = make(chan struct{})
	}
	return db.changed
}

// IDs implements Database.
func (db *memoryDB) IDs(context.Context) (ids []string, err error) {
	err = db.write(func() error { // sorting the index changes it
		ids = db.ids.sorted()
		return nil
	})
	return ids, err
}

// Compact implements Database.
func (db *memoryDB) Compact(context.Context) error {
	return db.write(func() error {
		for id, doc := range db.docs {
			tree, dropped := doc.Tree.Compact()
			if dropped == 0 {
				continue
			}
			compacted := &Doc{ID: doc.ID, Seq: doc.Seq, Tree: tree}
			db.docs[id] = compacted
			db.changes.swap(compacted)
		}
		return nil
	})
}

// Local implements Database.
func (db *memoryDB) Local(_ context.Context, id string) (doc *Local, err error) {
	err = db.read(func() { doc = db.locals[id] })
	return doc, err
}

// PutLocal implements Database.
func (db *memoryDB) PutLocal(_ context.Context, id string, doc *Local) error {
	return db.write(func() error {
		if doc == nil {
			delete(db.locals, id)
		} else {
			db.locals[id] = doc
		}
		return nil
	})
}

// LocalIDs implements Database.
func (db *memoryDB) LocalIDs(context.Context) (ids []string, err error) {
	err = db.read(func() { ids = slices.Sorted(maps.Keys(db.locals)) })
	return ids, err
}

// Security implements Database.
func (db *memoryDB) Security(context.Context) (object []byte, err error) {
	err = db.read(func() { object = db.security })
	return object, err
}

// SetSecurity implements Database.
func (db *memoryDB) SetSecurity(_ context.Context, object []byte) error {
	return db.write(func() error { db.security = object; return nil })
}

// SetRevsLimit implements Database.
func (db *memoryDB) SetRevsLimit(_ context.Context, limit int) error {
	return db.write(func() error { db.info.RevsLimit = limit; return nil })
}
