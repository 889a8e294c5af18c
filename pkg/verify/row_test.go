package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace/pkg/couch"
)

// revs draws revisions as servers make them, and others that are legal or near it.
var revs = rapid.OneOf(
	rapid.Custom(func(t *rapid.T) string {
		return fmt.Sprintf("%d-%032x", rapid.IntRange(1, 9999).Draw(t, "pos"), rapid.Uint64().Draw(t, "hash"))
	}),
	rapid.SampledFrom([]string{
		"1-a", "0-" + strings.Repeat("a", 32), "01-" + strings.Repeat("a", 32), "+1-" + strings.Repeat("a", 32),
		"1-" + strings.Repeat("A", 32), "1-" + strings.Repeat("g", 32), "99999999999999999999-" + strings.Repeat("a", 32), "",
	}),
	rapid.String(),
)

func TestRowReadsBackAsItWas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rowOf(couch.Row{Revs: rapid.SliceOf(revs).Draw(t, "revs"), Deleted: rapid.Bool().Draw(t, "deleted")})
		encoded := r.append(nil)
		got, err := decodeRow(encoded)
		require.NoError(t, err)
		require.Equal(t, r.deleted, got.deleted)
		require.True(t, slices.Equal(r.leaves, got.leaves))
		require.EqualValues(t, len(r.leaves), leafCount(encoded))
		for n := range encoded {
			_, err := decodeRow(encoded[:n])
			require.Error(t, err, "a part of a row is no row")
		}
	})
}

func TestRowOfOneLeafIsShort(t *testing.T) {
	encoded := row{leaves: []string{rev(1, 1)}}.append(nil)
	require.Len(t, encoded, 18)
}

func TestRowsWithTheSameLeavesAreTheSameBytes(t *testing.T) {
	x := rowOf(couch.Row{Revs: []string{"2-b", "1-a", "2-b"}})
	y := rowOf(couch.Row{Revs: []string{"1-a", "2-b"}})
	require.Equal(t, x.append(nil), y.append(nil))
}

func FuzzDecodeRow(f *testing.F) {
	f.Add(row{leaves: []string{rev(1, 1), "1-x"}, deleted: true}.append(nil))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, encoded []byte) {
		r, err := decodeRow(encoded)
		if err != nil {
			require.ErrorIs(t, err, errRow)
			return
		}
		again, err := decodeRow(r.append(nil))
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
