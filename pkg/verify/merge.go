package verify

import (
	"bytes"
	"cmp"
	"container/heap"
	"io"
)

// merge reads several runs as one.
type merge struct {
	runs runHeap
	id   []byte // of the record handed out last
	any  bool   // one was handed out
}

// newMerge starts to read the runs.
func newMerge(runs []*runReader) (*merge, error) {
	m := &merge{}
	for _, r := range runs {
		_, err := r.next()
		if err == io.EOF {
			continue
		}
		if err != nil {
			return nil, err
		}
		m.runs = append(m.runs, r)
	}
	heap.Init(&m.runs)
	return m, nil
}

func (m *merge) next() (record, error) {
	if m.any {
		if err := m.skip(); err != nil {
			return record{}, err
		}
	}
	if len(m.runs) == 0 {
		return record{}, io.EOF
	}
	first := m.runs[0].record
	m.id, m.any = append(m.id[:0], first.id...), true
	return first, nil
}

// skip goes past what has the id handed out last: that record, and older ones of
// the same document.
func (m *merge) skip() error {
	for len(m.runs) > 0 && bytes.Equal(m.runs[0].id, m.id) {
		_, err := m.runs[0].next()
		switch {
		case err == io.EOF:
			heap.Pop(&m.runs)
		case err != nil:
			return err
		default:
			heap.Fix(&m.runs, 0)
		}
	}
	return nil
}

// runHeap orders runs by their current record's id, and the youngest first for the same id.
type runHeap []*runReader

func (h runHeap) Len() int      { return len(h) }
func (h runHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

func (h runHeap) Less(i, j int) bool {
	return cmp.Or(bytes.Compare(h[i].id, h[j].id), cmp.Compare(h[j].age, h[i].age)) < 0
}

// Push is what [heap.Interface] wants.
func (h *runHeap) Push(x any) { *h = append(*h, x.(*runReader)) }

// Pop is what [heap.Interface] wants.
func (h *runHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
