package verify

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
)

// record is an encoded row and its id. Both are valid until the next is read.
type record struct {
	id, row []byte
}

// records are read one after another, by rising id and each id once; io.EOF ends them.
type records interface {
	next() (record, error)
}

// sorter sorts rows by id, and of several with the same id keeps the one that was
// added last. What exceeds its memory goes to a temporary file, as sorted runs that are merged
// in the end (invariant 5).
type sorter struct {
	dir   string
	size  sizes
	arena []byte  // ids and rows
	index []entry // where in the arena they are, as added
	spill *spill  // nil as long as all fits
}

// entry is where a record is in the arena: its id, and right behind it its row.
type entry struct {
	at, id, row uint32
}

// entryBytes is what an entry takes.
const entryBytes = 12

// sizes is how a sorter uses its memory, in bytes but for fanIn.
type sizes struct {
	arena, index int // while adding; index in entries
	buffer       int // of each run, while merging
	fanIn        int // how many runs are merged at once
}

// sizesFor shares out so many bytes. A row of a document with one leaf takes 18
// bytes and the id, so a quarter is about right for the index.
func sizesFor(memory int64) sizes {
	const maxArena = 1 << 30 // an entry has 32 bits for a place in it
	memory = min(memory, maxArena)
	buffer := min(max(memory/64, 4<<10), 64<<10)
	return sizes{
		arena:  int(memory / 4 * 3),
		index:  int(memory / 4 / entryBytes),
		buffer: int(buffer),
		fanIn:  int(max(2, memory/buffer-1)), // one for writing
	}
}

func newSorter(dir string, memory int64) *sorter { return &sorter{dir: dir, size: sizesFor(memory)} }

// add adds an encoded row.
func (s *sorter) add(id string, row []byte) error {
	full := len(s.arena)+len(id)+len(row) > s.size.arena || len(s.index) == s.size.index
	if full && len(s.index) > 0 {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if s.arena == nil {
		s.arena, s.index = make([]byte, 0, s.size.arena), make([]entry, 0, s.size.index)
	}
	s.index = append(s.index, entry{at: uint32(len(s.arena)), id: uint32(len(id)), row: uint32(len(row))})
	s.arena = append(append(s.arena, id...), row...)
	return nil
}

// flush writes what is in memory as a run.
func (s *sorter) flush() error {
	if s.spill == nil {
		var err error
		if s.spill, err = newSpill(s.dir); err != nil {
			return err
		}
	}
	if err := s.spill.write(s.inMemory(), s.size.buffer); err != nil {
		return err
	}
	s.arena, s.index = s.arena[:0], s.index[:0]
	return nil
}

// inMemory sorts what is in memory.
func (s *sorter) inMemory() *memoryRecords {
	slices.SortFunc(s.index, func(x, y entry) int {
		return cmp.Or(bytes.Compare(s.idOf(x), s.idOf(y)), cmp.Compare(x.at, y.at))
	})
	return &memoryRecords{sorter: s}
}

func (s *sorter) idOf(e entry) []byte { return s.arena[e.at : e.at+e.id] }

// sorted returns all that was added, in order; then nothing may be added any more.
// The records are valid until close.
func (s *sorter) sorted(ctx context.Context) (records, error) {
	if s.spill == nil {
		return s.inMemory(), nil
	}
	if err := s.flush(); err != nil {
		return nil, err
	}
	s.arena, s.index = nil, nil // the memory is the merge's now
	for len(s.spill.runs) > s.size.fanIn {
		if err := s.mergeOnce(ctx); err != nil {
			return nil, err
		}
	}
	return newMerge(s.spill.openAll(s.spill.runs, s.size.buffer))
}

// mergeOnce makes longer runs of neighbouring ones, in another file. Neighbours stay in the order of
// their age, by which the last row of an id wins.
func (s *sorter) mergeOnce(ctx context.Context) error {
	next, err := newSpill(s.dir)
	if err != nil {
		return err
	}
	for group := range slices.Chunk(s.spill.runs, s.size.fanIn) {
		if err := s.mergeGroup(ctx, group, next); err != nil {
			next.close()
			return err
		}
	}
	s.spill.close()
	s.spill = next
	return nil
}

func (s *sorter) mergeGroup(ctx context.Context, group []span, to *spill) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sort rows: %w", err)
	}
	merged, err := newMerge(s.spill.openAll(group, s.size.buffer))
	if err != nil {
		return err
	}
	return to.write(merged, s.size.buffer)
}

// close removes the temporary file.
func (s *sorter) close() {
	if s.spill != nil {
		s.spill.close()
	}
}

// memoryRecords reads a sorter's memory after it was sorted.
type memoryRecords struct {
	sorter *sorter
	at     int
}

func (m *memoryRecords) next() (record, error) {
	s := m.sorter
	for m.at < len(s.index) {
		e := s.index[m.at]
		m.at++
		if m.at < len(s.index) && bytes.Equal(s.idOf(e), s.idOf(s.index[m.at])) {
			continue // the same document later
		}
		return record{id: s.idOf(e), row: s.arena[e.at+e.id : e.at+e.id+e.row]}, nil
	}
	return record{}, io.EOF
}
