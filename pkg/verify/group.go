package verify

import (
	"encoding/binary"
	"io"
	"sync"

	"millrace/pkg/filter"
)

// group is a filter, and the targets that it is for.
type group struct {
	number uint32
	filter *filter.Filter
	// whole says that it chooses everything: what a target has beside that is missing at the source.
	whole bool

	mu  sync.Mutex
	err error
}

// fail notes what the filter could not decide. Its targets cannot be compared then.
func (g *group) fail(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
	}
}

// failure is what the filter could not decide, nil if there is nothing.
func (g *group) failure() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err
}

// key is an id under which rows of several groups are sorted: those of a group stand together.
func (g *group) key(id string) string {
	return string(binary.BigEndian.AppendUint32(make([]byte, 0, keyPrefix+len(id)), g.number)) + id
}

// keyPrefix is what stands before the id.
const keyPrefix = 4

// section reads the rows of one group. All must be read before those of the next one are.
type section struct {
	from  *cursor
	group *group
	begun bool
}

func (s *section) next() (record, error) {
	if s.begun {
		if err := s.from.advance(); err != nil {
			return record{}, err
		}
	}
	s.begun = true
	if !s.from.more || binary.BigEndian.Uint32(s.from.id) != s.group.number {
		s.begun = false // it is the next one's first
		return record{}, io.EOF
	}
	return record{id: s.from.id[keyPrefix:], row: s.from.row}, nil
}
