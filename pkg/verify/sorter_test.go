package verify

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// drain reads all records.
func drain(t require.TestingT, from records) (ids []string, rows map[string]string) {
	rows = map[string]string{}
	for {
		rec, err := from.next()
		if err == io.EOF {
			return ids, rows
		}
		require.NoError(t, err)
		ids = append(ids, string(rec.id))
		rows[string(rec.id)] = string(rec.row)
	}
}

// tinySorter has so little memory that runs are merged in several rounds.
func tinySorter(dir string, arena, index, fanIn int) *sorter {
	return &sorter{dir: dir, size: sizes{arena: arena, index: index, buffer: 16, fanIn: fanIn}}
}

func TestSorterKeepsTheLastRowOfEachID(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		s := tinySorter(dir, rapid.IntRange(1, 200).Draw(t, "arena"), rapid.IntRange(1, 20).Draw(t, "index"), rapid.IntRange(2, 4).Draw(t, "fanIn"))
		defer s.close()
		want := map[string]string{}
		for i, id := range rapid.SliceOf(rapid.StringN(0, 3, -1)).Draw(t, "ids") {
			row := fmt.Sprintf("row %d", i)
			want[id] = row
			require.NoError(t, s.add(id, []byte(row)))
		}
		sorted, err := s.sorted(t.Context())
		require.NoError(t, err)
		ids, rows := drain(t, sorted)
		require.Equal(t, slices.Sorted(maps.Keys(want)), ids)
		require.Equal(t, want, rows)
	})
}

func TestSorterLeavesNoFile(t *testing.T) {
	dir := t.TempDir()
	s := tinySorter(dir, 10, 10, 2)
	for i := range 100 {
		require.NoError(t, s.add(fmt.Sprint(i), []byte("row")))
	}
	_, err := s.sorted(t.Context())
	require.NoError(t, err)
	s.close()
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestSorterWithoutADirectoryFails(t *testing.T) {
	s := tinySorter(t.TempDir()+"/none", 10, 1, 2)
	require.NoError(t, s.add("a", nil))
	require.ErrorIs(t, s.add("b", nil), os.ErrNotExist)
}

func TestSorterHasRoomForMoreThanItsMemoryInOneRow(t *testing.T) {
	s := tinySorter(t.TempDir(), 10, 10, 2)
	defer s.close()
	for _, id := range []string{"c", "a", "b"} {
		require.NoError(t, s.add(id, make([]byte, 1000)))
	}
	sorted, err := s.sorted(t.Context())
	require.NoError(t, err)
	ids, rows := drain(t, sorted)
	require.Equal(t, []string{"a", "b", "c"}, ids)
	require.Len(t, rows["b"], 1000)
}

func TestSizesStayInTheirMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		memory := rapid.Int64Range(minMemory/2, 1<<33).Draw(t, "memory")
		s := sizesFor(memory)
		require.LessOrEqual(t, int64(s.arena+s.index*entryBytes), memory)
		require.LessOrEqual(t, int64((s.fanIn+1)*s.buffer), memory)
		require.GreaterOrEqual(t, s.fanIn, 2)
		require.Positive(t, s.index)
	})
}

func TestDamagedRunIsAnError(t *testing.T) {
	s, err := newSpill(t.TempDir())
	require.NoError(t, err)
	defer s.close()
	// Whole it is: shared 0, rest 1, row 1, "a", "r".
	_, err = s.file.Write([]byte{0, 1, 1, 'a', 'r', 9, 1, 1, 'b', 'r'})
	require.NoError(t, err)
	for name, run := range map[string]span{
		"cut":                       {at: 0, length: 4},
		"shares more than there is": {at: 5, length: 5},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newMerge(s.openAll([]span{run}, 16))
			require.ErrorIs(t, err, errRow)
		})
	}
}

// list is sorted records in memory.
type list struct {
	ids []string
}

func (l *list) next() (record, error) {
	if len(l.ids) == 0 {
		return record{}, io.EOF
	}
	id := l.ids[0]
	l.ids = l.ids[1:]
	return record{id: []byte(id), row: []byte("row of " + id)}, nil
}

func TestJoinVisitsEachIDOnceWithTheRowsThatThereAre(t *testing.T) {
	ids := rapid.SliceOfDistinct(rapid.StringN(0, 2, -1), rapid.ID)
	rapid.Check(t, func(t *rapid.T) {
		a, b := slices.Sorted(slices.Values(ids.Draw(t, "a"))), slices.Sorted(slices.Values(ids.Draw(t, "b")))
		var visited []string
		err := join(&list{ids: a}, &list{ids: b}, func(id, rowA, rowB []byte) error {
			visited = append(visited, string(id))
			require.Equal(t, slices.Contains(a, string(id)), rowA != nil)
			require.Equal(t, slices.Contains(b, string(id)), rowB != nil)
			return nil
		})
		require.NoError(t, err)
		require.Equal(t, slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b)))), visited)
	})
}

func TestSplitIsByMembership(t *testing.T) {
	values := rapid.SliceOfDistinct(rapid.StringN(0, 2, -1), rapid.ID)
	rapid.Check(t, func(t *rapid.T) {
		a, b := slices.Sorted(slices.Values(values.Draw(t, "a"))), slices.Sorted(slices.Values(values.Draw(t, "b")))
		onlyA, both, onlyB := split(a, b)
		require.Equal(t, a, slices.Sorted(slices.Values(slices.Concat(onlyA, both))))
		require.Equal(t, b, slices.Sorted(slices.Values(slices.Concat(onlyB, both))))
		for _, v := range both {
			require.NotContains(t, onlyA, v)
			require.NotContains(t, onlyB, v)
		}
	})
}
