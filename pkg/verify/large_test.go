package verify

import (
	"fmt"
	"io/fs"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/couch"
)

// fill writes documents d000000 and on, last first if backwards.
func fill(t testing.TB, db *couch.DB, n int, backwards bool, skip map[int]bool) {
	t.Helper()
	const batch = 5000
	for start := 0; start < n; start += batch {
		var docs []string
		for i := start; i < min(n, start+batch); i++ {
			at := i
			if backwards {
				at = n - 1 - i
			}
			if !skip[at] {
				docs = append(docs, doc(fmt.Sprintf("d%06d", at), at, ""))
			}
		}
		write(t, db, docs...)
	}
}

func TestLargeDatabasesAreSortedInLittleMemory(t *testing.T) {
	const n = 100_000
	a, b := ponds(t)
	fill(t, a, n, false, map[int]bool{7: true})
	fill(t, b, n, true, map[int]bool{0: true, 50_000: true, n - 1: true})

	_, err := Compare(t.Context(), a, b, Options{Memory: minMemory, TempDir: t.TempDir() + "/none"})
	require.ErrorIs(t, err, fs.ErrNotExist, "so little memory does not do without files")

	var progress Progress
	report := compared(t, a, b, Options{Memory: minMemory, TempDir: t.TempDir(), Progress: &progress})
	require.EqualValues(t, n-4, report.MatchingDocuments)
	require.EqualValues(t, 1, report.A.MissingDocuments)
	require.EqualValues(t, 3, report.B.MissingDocuments)
	var ids []string
	for _, d := range report.Differences {
		ids = append(ids, d.ID)
	}
	require.Equal(t, []string{"d000000", "d000007", "d050000", "d099999"}, ids)
	require.EqualValues(t, 2*n-4, progress.Expected.Load())
	require.EqualValues(t, 2*n-4, progress.Read.Load())
	require.EqualValues(t, n, progress.Compared.Load())
}
