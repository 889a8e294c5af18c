package millpond

import "slices"

// idIndex is a set of ids that is put in order only when somebody asks: a bulk
// load then costs nothing, and a listing after it one sort. A slice once handed
// out is never changed.
type idIndex struct {
	inOrder []string
	added   []string        // since the last sorting
	removed map[string]bool // since the last sorting
}

func (x *idIndex) add(id string) {
	x.added = append(x.added, id)
	delete(x.removed, id)
}

func (x *idIndex) remove(id string) {
	if x.removed == nil {
		x.removed = make(map[string]bool)
	}
	x.removed[id] = true
}

// sorted returns the ids in bytewise order.
func (x *idIndex) sorted() []string {
	if len(x.added) == 0 && len(x.removed) == 0 {
		return x.inOrder
	}
	slices.Sort(x.added)
	merged := make([]string, 0, len(x.inOrder)+len(x.added))
	a, b := x.inOrder, x.added
	for len(a) > 0 || len(b) > 0 {
		var id string
		if len(b) == 0 || len(a) > 0 && a[0] <= b[0] {
			id, a = a[0], a[1:]
		} else {
			id, b = b[0], b[1:]
		}
		repeated := len(merged) > 0 && merged[len(merged)-1] == id
		if !repeated && !x.removed[id] {
			merged = append(merged, id)
		}
	}
	x.inOrder, x.added, x.removed = merged, nil, nil
	return merged
}
