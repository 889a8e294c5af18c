package verify

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/couch"
)

// hook does something before a request is sent.
type hook struct {
	next   http.RoundTripper
	before func(*http.Request)
}

func (h hook) RoundTrip(r *http.Request) (*http.Response, error) {
	h.before(r)
	return h.next.RoundTrip(r)
}

// hooked is another client of a database without credentials.
func hooked(t *testing.T, db *couch.DB, before func(*http.Request)) *couch.DB {
	t.Helper()
	ep, err := couch.ParseEndpoint(db.String())
	require.NoError(t, err)
	again, err := couch.Open(ep, couch.Options{Transport: func(next http.RoundTripper) http.RoundTripper {
		return hook{next: next, before: before}
	}})
	require.NoError(t, err)
	t.Cleanup(again.Close)
	return again
}

// nth calls do before the nth request whose path ends so.
func nth(n int, suffix string, do func()) func(*http.Request) {
	return func(r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return
		}
		if n--; n == 0 {
			do()
		}
	}
}

// ponds is a database on each of two Millponds.
func ponds(t *testing.T) (a, b *couch.DB) {
	t.Helper()
	return database(t, newPond(t).url), database(t, newPond(t).url)
}

func TestDocumentsThatArriveMeanwhileAreNoDifference(t *testing.T) {
	a, b := ponds(t)
	write(t, a, doc("d", 1, `"x":1`), after("dead", `"_deleted":true`, 1, 9), doc("there", 1, ""))
	write(t, b, doc("there", 1, ""))
	late := hooked(t, b, nth(2, b.Name(), func() { // after the feeds were read
		write(t, b, doc("d", 1, `"x":1`), after("dead", `"_deleted":true`, 1, 9))
	}))
	report := compared(t, a, late, Options{Bodies: true})
	require.True(t, report.Same, report)
	require.Equal(t, 1, report.Rechecks)
	require.True(t, report.Moved)
	require.False(t, report.Unsettled)
	require.EqualValues(t, 3, report.MatchingDocuments)
	require.EqualValues(t, 3, report.B.Documents)
	require.NotEqual(t, report.B.SeqBefore, report.B.SeqAfter)
	require.Contains(t, report.String(), "written to meanwhile")
}

func TestDifferencesOfQuietDatabasesAreFinal(t *testing.T) {
	a, b := ponds(t)
	write(t, a, doc("d", 1, ""))
	report := compared(t, a, b, Options{})
	require.EqualValues(t, 1, report.DifferenceCount)
	require.Zero(t, report.Rechecks)
	require.False(t, report.Moved)
	require.False(t, report.Unsettled)
}

func TestSettleWaitsForWhatIsOnItsWay(t *testing.T) {
	a, b := ponds(t)
	write(t, a, doc("d", 1, ""))
	late := hooked(t, b, nth(2, "/d", func() { write(t, b, doc("d", 1, "")) })) // at the second recheck
	report := compared(t, a, late, Options{Settle: true})
	require.True(t, report.Same, report)
	require.Equal(t, 2, report.Rechecks)
}

func TestDatabaseThatNeverRestsIsUnsettled(t *testing.T) {
	a, b := ponds(t)
	write(t, a, doc("d", 1, ""))
	n := 0
	restless := hooked(t, b, func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, b.Name()) {
			n++
			write(t, b, doc("there", n, ""))
		}
	})
	report := compared(t, a, restless, Options{Rechecks: 3})
	require.Equal(t, 3, report.Rechecks)
	require.True(t, report.Unsettled)
	require.Contains(t, report.String(), "may be on their way")
}

func TestTooManyDifferencesAreNotLookedAtAgain(t *testing.T) {
	a, b := ponds(t)
	write(t, a, doc("d", 1, ""), doc("e", 1, ""))
	moving := hooked(t, b, nth(2, b.Name(), func() { write(t, b, doc("x", 1, "")) }))
	report := compared(t, a, moving, Options{RecheckLimit: 1})
	require.Zero(t, report.Rechecks)
	require.True(t, report.Unsettled)
	require.EqualValues(t, 2, report.DifferenceCount)
}

func TestDocumentThatIsPurgedMeanwhileIsForgotten(t *testing.T) {
	a, b := ponds(t)
	write(t, a, doc("d", 1, ""))
	moving := hooked(t, a, nth(2, a.Name(), func() {
		body := fmt.Appendf(nil, `{"d":[%q]}`, rev(1, 1))
		resp, err := http.Post(a.String()+"/_purge", "application/json", bytes.NewReader(body))
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body) // so that the connection ends
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusCreated, resp.StatusCode)
		http.DefaultClient.CloseIdleConnections()
		write(t, a, doc("e", 1, ""))
		write(t, b, doc("e", 1, ""))
	}))
	report := compared(t, moving, b, Options{})
	require.True(t, report.Same, report)
	require.Zero(t, report.A.Documents, "what came later was not asked for")
}
