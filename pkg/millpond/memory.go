package millpond

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Memory is a Store in memory. A small document costs about 400 bytes beside its
// body.
type Memory struct {
	mu       sync.RWMutex
	dbs      map[string]*memoryDB
	instance int64 // the newest instance given out
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{dbs: make(map[string]*memoryDB)} }

// Create implements Store.
func (m *Memory) Create(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, exists := m.dbs[name]; exists {
		return ErrDatabaseExists
	}
	// CouchDB's instance_start_time has seconds; one of ours is never given twice,
	// so that a database re-created within the second is seen to be another.
	m.instance = max(m.instance+1, time.Now().Unix())
	m.dbs[name] = newMemoryDB(strconv.FormatInt(m.instance, 10))
	return nil
}

// Open implements Store.
func (m *Memory) Open(_ context.Context, name string) (Database, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	db, exists := m.dbs[name]
	if !exists {
		return nil, ErrNoDatabase
	}
	return db, nil
}

// Delete implements Store.
func (m *Memory) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	db, exists := m.dbs[name]
	if !exists {
		return ErrNoDatabase
	}
	delete(m.dbs, name)
	db.drop()
	return nil
}

// Names implements Store.
func (m *Memory) Names(context.Context) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	names := make([]string, 0, len(m.dbs))
	for name := range m.dbs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
