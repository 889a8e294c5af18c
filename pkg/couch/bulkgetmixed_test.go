package couch

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// mixedAnswer is what CouchDB 3.5 sends to a _bulk_get that takes no JSON: boundaries that
// begin with dashes and are not quoted, ids in headers, and refusals in _bulk_get's own words.
var mixedAnswer = strings.NewReplacer(
	"--outer\r\nContent-Type: multipart/related; boundary=\"inner\"", "\r\n----outer\r\nX-Doc-Id: a\r\nX-Rev-Id: 2-x\r\nContent-Type: multipart/related; boundary=--inner",
	"--outer", "----outer", "--inner", "----inner",
	`{"missing":"3-z"}`, `{"id":"c","rev":"3-z","error":"not_found","reason":"missing"}`,
).Replace(openRevsAnswer) + "\r\n"

func TestBulkGetMixedReadsManyDocumentsAndWhatFollowsThem(t *testing.T) {
	var asked, accepted string
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked, accepted = r.Method+" "+r.URL.Path+"?"+r.URL.RawQuery+" "+string(body), r.Header.Get("Accept")
		w.Header().Set("Content-Type", `multipart/mixed; boundary="--outer"`)
		_, _ = io.WriteString(w, mixedAnswer)
	})
	o, err := db.BulkGetMixed(t.Context(), []BulkGetRequest{{ID: "a", Rev: "2-x", AttsSince: []string{"1-w"}}, {ID: "c", Rev: "3-z"}})
	require.NoError(t, err)
	got, err := readRevs(o)
	require.NoError(t, err)
	require.Equal(t, wantOpenRevs, got)
	require.Equal(t, `POST /db/_bulk_get?latest=true&revs=true {"docs":[{"id":"a","rev":"2-x","atts_since":["1-w"]},{"id":"c","rev":"3-z"}]}`, asked)
	require.Equal(t, "multipart/mixed", accepted, "a server that may send JSON does")
}

func TestBulkGetMixedCutAnywhereIsACut(t *testing.T) {
	for n := range len(mixedAnswer) - len("\r\n") {
		db := serve(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", `multipart/mixed; boundary="--outer"`)
			_, _ = io.WriteString(w, mixedAnswer[:n])
		})
		o, err := db.BulkGetMixed(t.Context(), []BulkGetRequest{{ID: "a"}})
		require.NoError(t, err)
		if _, err = readRevs(o); err == nil {
			t.Fatalf("an answer that was cut at byte %d of %d looks whole", n, len(mixedAnswer))
		}
	}
}

func TestBulkGetMixedTellsServersThatSendJSON(t *testing.T) {
	db := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"results":[]}`)
	})
	_, err := db.BulkGetMixed(t.Context(), []BulkGetRequest{{ID: "a"}})
	if !errors.Is(err, ErrNoMultipart) {
		t.Errorf("got %v", err)
	}
}
