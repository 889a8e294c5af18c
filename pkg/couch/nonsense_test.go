package couch

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An answer that a server of this kind does not give is a cut one, whatever is left of
// it: no end of a feed, no document, no success.
func TestAnswersThatMakeNoSenseAreCuts(t *testing.T) {
	openRevs := func(contentType string) reader { return readRevisions(t, contentType, nil) }
	const mixed = "multipart/mixed; boundary=b"
	for name, c := range map[string]struct {
		read   reader
		answer string
		items  int // that are read before it shows
	}{
		"a feed's end among its rows":         {readFeed(FeedNormal), `{"results":[{"id":"a","changes":[]},{"last_seq":5}],"last_seq":7}`, 1},
		"a row that ends a feed":              {readFeed(FeedNormal), `{"results":[{"id":"b","changes":[],"last_seq":5},{"id":"c"}],"last_seq":7}`, 0},
		"a row without an id":                 {readFeed(FeedNormal), `{"results":[{"seq":1,"changes":[{"rev":"1-a"}]}],"last_seq":7}`, 0},
		"an error without text":               {readFeed(FeedNormal), `{"results":[{"error":null}],"last_seq":7}`, 0},
		"a line without an id":                {readFeed(FeedContinuous), `{"seq":1,"changes":[]}` + "\n", 0},
		"two rows in a line":                  {readFeed(FeedContinuous), `{"id":"a","changes":[]}{"last_seq":2}` + "\n", 0},
		"an id that is none":                  {readBulkGet(t, nil), `{"results":[{"id":{"docs":[]}}]}`, 0},
		"null in place of results":            {decoded(readDocResults), `null`, 0},
		"parts without a boundary":            {openRevs("multipart/mixed"), "--\r\nContent-Type: application/json\r\n\r\n{}\r\n----", 0},
		"inner parts without a boundary":      {openRevs(mixed), "--b\r\nContent-Type: multipart/related\r\n\r\n--\r\n\r\n{}\r\n----\r\n--b--", 0},
		"a last boundary that is in a header": {openRevs(mixed), "--b\r\nContent-Type: application/json\r\nX: --b--", 0},
		"a revision that is missing, or not":  {openRevs(mixed), "--b\r\nContent-Type: application/json; error=\"true\"\r\n\r\n{}\r\n--b--", 0},
		"the same in JSON":                    {openRevs(typeJSON), `[{"missing":""}]`, 0},
		"a negative length":                   {openRevs(mixed), string(related1(`"length":-5`)), 0},
		"a negative stored length":            {openRevs(mixed), string(related1(`"length":5,"encoding":"gzip","encoded_length":-5`)), 0},
	} {
		items, err := c.read(strings.NewReader(c.answer))
		require.Len(t, items, c.items, name)
		var cut *CutError
		require.ErrorAs(t, err, &cut, name)
	}
	_, err := revisionOf([]byte(`null`))
	require.ErrorIs(t, err, errShape)
}

func TestWhateverIsGivenAsAnErrorIsOne(t *testing.T) {
	results, err := readDocResults(strings.NewReader(`[{"id":"a","error":""},{"id":"b","error":null},{"id":"c","rev":"1-x"}]`))
	require.NoError(t, err)
	require.Equal(t, []bool{true, true, false}, []bool{results[0].Failure() != nil, results[1].Failure() != nil, results[2].Failure() != nil})
}

func TestSessionMayLiveLong(t *testing.T) {
	for _, cookie := range []*http.Cookie{
		{Name: sessionCookie, Value: "x", MaxAge: 1 << 60},
		{Name: sessionCookie, Value: "x", Expires: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
	} {
		jar := newSessionJar(mustURL("http://h"))
		jar.SetCookies(jar.root, []*http.Cookie{cookie})
		require.Len(t, jar.Cookies(jar.root), 1, "%v", cookie)
	}
}

func TestEmptyMultipartAnswerIsWhole(t *testing.T) {
	items, err := readRevisions(t, "multipart/mixed; boundary=b", nil)(strings.NewReader("--b--"))
	require.NoError(t, err)
	require.Empty(t, items)
	_, err = readRevisions(t, "multipart/mixed; boundary=b", nil)(io.LimitReader(strings.NewReader("--b--"), 4))
	require.Error(t, err)
}
