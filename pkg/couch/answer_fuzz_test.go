package couch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// answered is an answer with such a body.
func answered(contentType string, body io.Reader) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(body)}
}

// decoded reads a whole answer as a request does that needs all of it.
func decoded[T any](read func(io.Reader) (T, error)) reader {
	return func(body io.Reader) ([]string, error) {
		got, err := read(body)
		if err != nil {
			return nil, fuzzed.cut(err)
		}
		return []string{fmt.Sprintf("%+v", got)}, nil
	}
}

// intoA reads an answer with [into].
func intoA[T any](body io.Reader) (v T, err error) {
	return v, into(&v)(body)
}

func FuzzRevsDiff(f *testing.F) {
	for _, answer := range answers(f, "revsdiff") {
		f.Add(answer, uint16(len(answer)/2))
	}
	f.Add([]byte(`{"a":{"missing":[]},"a":{"missing":["1-x"],"possible_ancestors":null}}`), uint16(9))
	f.Fuzz(func(t *testing.T, answer []byte, cutAt uint16) {
		checkReading(t, answer, cutAt, decoded(readMissing))
	})
}

func FuzzBulkDocs(f *testing.F) {
	for _, answer := range answers(f, "bulkdocs") {
		f.Add(answer, uint16(len(answer)/2))
	}
	for _, nasty := range []string{`null`, `[null]`, `[{"error":""}]`, `[{"id":"a","error":null}]`, `[{"error":{"a":1},"reason":[1]}]`, `[{"ERROR":"x"}]`} {
		f.Add([]byte(nasty), uint16(3))
	}
	f.Fuzz(func(t *testing.T, answer []byte, cutAt uint16) {
		checkReading(t, answer, cutAt, decoded(readDocResults))
		results, err := readDocResults(bytes.NewReader(answer))
		if err != nil {
			return
		}
		if bytes.TrimLeft(answer, " \t\r\n")[0] != '[' {
			t.Errorf("%q is taken for a list of %d results", answer, len(results))
		}
		var said []map[string]json.RawMessage
		if json.Unmarshal(answer, &said) != nil || len(said) != len(results) {
			return // something follows the list
		}
		for i, r := range results {
			if _, refused := said[i]["error"]; refused && r.Failure() == nil {
				t.Errorf("%v counts as written", said[i])
			}
		}
	})
}

// FuzzObjects is about the answers that are one object.
func FuzzObjects(f *testing.F) {
	for _, answer := range answers(f, "info", "server.json", "local", "commit", "put") {
		f.Add(answer, uint16(len(answer)/2))
	}
	f.Fuzz(func(t *testing.T, answer []byte, cutAt uint16) {
		checkReading(t, answer, cutAt, decoded(readInfo))
		checkReading(t, answer, cutAt, decoded(intoA[ServerInfo]))
		checkReading(t, answer, cutAt, decoded(intoA[json.RawMessage]))
		rev, err := revisionOf(answer)
		if first := append(bytes.TrimLeft(answer, " \t\r\n"), 0)[0]; err == nil && first != '{' && first != '[' {
			t.Errorf("%q is taken for a write of %q", answer, rev)
		}
	})
}

func FuzzHTTPError(f *testing.F) {
	for _, answer := range answers(f, "error", "server.json") {
		f.Add(429, answer, "17")
	}
	f.Add(503, []byte(`{"error":null,"reason":{"a":[1]},"ref":1}`), "Fri, 31 Dec 9999 23:59:59 GMT")
	f.Add(500, bytes.Repeat([]byte(`[`), 20000), "-1")
	f.Fuzz(func(t *testing.T, status int, answer []byte, after string) {
		before := allocated()
		resp := answered(typeJSON, bytes.NewReader(answer))
		resp.StatusCode = status
		resp.Header.Set("Retry-After", after)
		err := newHTTPError(fuzzed, resp)
		if took := allocated() - before; took > allocationLimit(answer) {
			t.Errorf("allocated %d bytes for an answer of %d", took, len(answer))
		}
		if err.Status != status || err.RetryAfter < 0 || !strings.Contains(err.Error(), fmt.Sprint(status)) {
			t.Errorf("%+v: %v", err, err)
		}
		if c := Classify(err); c != Classify(err) {
			t.Errorf("classified as %v, and then otherwise", c)
		}
		if seconds, errSeconds := time.ParseDuration(after + "s"); errSeconds == nil && seconds > 0 && seconds < time.Hour &&
			strings.Trim(after, "0123456789") == "" && err.RetryAfter != seconds {
			t.Errorf("Retry-After %q is %v", after, err.RetryAfter)
		}
	})
}

// FuzzSessionCookie sets a cookie as net/http gives it from a header that a server sent.
func FuzzSessionCookie(f *testing.F) {
	f.Add("AuthSession=YWRtOjY; Version=1; Expires=Sat, 28-Nov-2026 04:00:00 GMT; Max-Age=600; Path=/; HttpOnly")
	f.Add("AuthSession=; Max-Age=0")
	f.Add("AuthSession=x; Max-Age=9223372036854775807")
	f.Add("AuthSession=x; Expires=Fri, 31 Dec 9999 23:59:59 GMT")
	f.Add("Other=x")
	f.Fuzz(func(t *testing.T, header string) {
		root := &url.URL{Scheme: "http", Host: "fuzz"}
		now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
		jar := newSessionJar(root)
		jar.now = func() time.Time { return now }
		set := (&http.Response{Header: http.Header{"Set-Cookie": {header}}}).Cookies()
		jar.SetCookies(root, set)
		sent := jar.Cookies(root)
		for _, c := range sent {
			if c.Name != sessionCookie || c.Value == "" || c.Value != set[0].Value {
				t.Errorf("%q makes %v", header, c)
			}
			if set[0].MaxAge > 0 && set[0].MaxAge < 1<<30 {
				now = now.Add(time.Duration(set[0].MaxAge) * time.Second)
				if len(jar.Cookies(root)) > 0 {
					t.Errorf("%q is sent when it is over", header)
				}
			}
		}
		if len(set) == 1 && set[0].Name == sessionCookie && set[0].Value != "" && set[0].MaxAge > 10 && len(sent) == 0 {
			t.Errorf("%q makes no session", header)
		}
	})
}

// FuzzText compares the shortcut with the library: the same text, whatever the escapes.
func FuzzText(f *testing.F) {
	for _, raw := range []string{`"a"`, `"\u00e9\ud83d\ude00"`, `"\ud800"`, "\"\xff\\n\"", "\"\xff\"", `""`} {
		f.Add([]byte(raw))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		dec := newDecoder(bytes.NewBuffer(raw))
		value, err := dec.ReadValue()
		if err != nil || value.Kind() != '"' {
			return
		}
		got, err := text(value)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8: it would be another id in a request", got)
		}
		token, err := newDecoder(bytes.NewBuffer(raw)).ReadToken()
		if err != nil || token.String() != got {
			t.Errorf("%q, and as a token %q, %v", got, token.String(), err)
		}
		if again, err := text(appendString(nil, got)); err != nil || again != got {
			t.Errorf("%q comes back as %q, %v", got, again, err)
		}
	})
}
