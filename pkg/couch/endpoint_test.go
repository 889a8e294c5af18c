package couch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseEndpointSplitsOffCredentials(t *testing.T) {
	ep, err := ParseEndpoint("https://us%40er:p%40s%2Fs%3A@h:6984/couch/a%2Fb/")
	require.NoError(t, err)
	require.Equal(t, Endpoint{URL: "https://h:6984/couch/a%2Fb/", Username: "us@er", Password: "p@s/s:"}, ep)
}

func TestParseEndpointRefusesWhatIsNoDatabase(t *testing.T) {
	for _, raw := range []string{
		"", "db", "ftp://h/db", "http://", "http://h", "http://h/", "http:///db",
		"http://h/db?x=1", "http://h/db#f", "http://u:secret@h:bad/db", "http://u:secret@h/%zz", "HTTP//x",
	} {
		_, err := ParseEndpoint(raw)
		require.ErrorIs(t, err, ErrBadEndpoint, raw)
		require.NotContains(t, err.Error(), "secret")
	}
}

func TestEndpointNeverShowsSecrets(t *testing.T) {
	for _, ep := range []Endpoint{
		{URL: "http://h/db", Username: "user", Password: "secret", Headers: http.Header{"Authorization": {"secret"}}},
		{URL: "http://user:secret@h/db?token=secret"},
		{URL: "http://user:secret@h:x/db"},
	} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "ep", ep, "p", &ep)
		encoded, err := json.Marshal(struct{ U, P string }{ep.String(), ""})
		require.NoError(t, err)
		for _, s := range []string{
			fmt.Sprint(ep), fmt.Sprintf("%v %+v %#v %s %q", ep, ep, ep, ep, ep), fmt.Sprintf("%+v", &ep), log.String(), string(encoded),
		} {
			require.NotContains(t, s, "secret")
			require.NotContains(t, s, "user")
		}
	}
	encoded, err := json.Marshal(Endpoint{URL: "http://h/db", Password: "secret", Headers: http.Header{"A": {"secret"}}})
	require.NoError(t, err)
	require.NotContains(t, string(encoded), "secret")
}

func TestPathsAreEscaped(t *testing.T) {
	for id, want := range map[string]string{
		"a/b+c %d":     "a%2Fb%2Bc%20%25d",
		"é":            "%C3%A9",
		"_design/a/b":  "_design/a%2Fb",
		"_local/a b":   "_local/a%20b",
		"_designer":    "_designer",
		".":            "%2E",
		"..":           "%2E%2E",
		"a:b@c&d=e?f#": "a%3Ab%40c%26d%3De%3Ff%23",
	} {
		require.Equal(t, want, docPath(id))
	}
	require.Equal(t, "_design/d/sub%2Fa%20b%3F.txt", attachmentPath("_design/d", "sub/a b?.txt"))
}

func TestURLsKeepBasePathAndEscapes(t *testing.T) {
	for raw, want := range map[string]string{
		"http://h:5984/db":             "http://h:5984/db/x%2Fy",
		"http://h/couch/a%2Fb/":        "http://h/couch/a%2Fb/x%2Fy",
		"http://h/couch/a+b":           "http://h/couch/a%2Bb/x%2Fy",
		"http://h/base%2Fpath/deep/db": "http://h/base%2Fpath/deep/db/x%2Fy",
		"https://h/user%24":            "https://h/user%24/x%2Fy",
	} {
		ep, err := ParseEndpoint(raw)
		require.NoError(t, err)
		db, err := Open(ep, Options{})
		require.NoError(t, err)
		require.Equal(t, want, db.at(docPath("x/y")).String())
		db.Close()
	}
}

func TestSeqIsOpaque(t *testing.T) {
	for raw, since := range map[string]string{
		`"12-g1AAAA_-x"`: "12-g1AAAA_-x",
		`"a\"\u00e9"`:    `a"é`,
		`42`:             "42",
		`[3,"g1AAA"]`:    `[3,"g1AAA"]`,
		`null`:           "null",
		`0`:              "0",
		`"0"`:            "0",
		`{"a": 1e400}`:   `{"a": 1e400}`,
	} {
		var s Seq
		require.NoError(t, s.UnmarshalJSON([]byte(raw)))
		require.Equal(t, since, s.String())
		out, err := s.MarshalJSON()
		require.NoError(t, err)
		require.Equal(t, raw, string(out))
		var again Seq
		require.NoError(t, again.UnmarshalJSON(out))
		require.Equal(t, s, again)
		parsed, err := ParseSeq([]byte(raw))
		require.NoError(t, err)
		require.Equal(t, s, parsed)
		require.Equal(t, raw == "null", s.IsNull())
		require.Equal(t, raw == "0", s.IsZero())
	}
	require.Equal(t, "0", Seq{}.String())
	_, err := ParseSeq([]byte(`{`))
	require.Error(t, err)
	none, err := ParseSeq(nil)
	require.NoError(t, err)
	require.True(t, none.IsZero())
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "seq")
		require.Equal(t, text, StringSeq(text).String())
	})
}

func mustURL(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return u
}
