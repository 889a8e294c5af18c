package couch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// openRevsAnswer is what CouchDB 3.5 sends for a document with attachments, one
// without, and a missing revision; both levels of boundaries, and raw quotes in a name.
const (
	docWithAtts = `{"_id":"a","_rev":"2-x","n":1e400,"_revisions":{"start":2,"ids":["x","w"]},"_attachments":{` +
		`"say \"é\".txt":{"content_type":"text/plain","revpos":2,"digest":"md5-1","length":20,"follows":true,"encoding":"gzip","encoded_length":5},` +
		`"old":{"content_type":"text/plain","revpos":1,"digest":"md5-2","length":4,"stub":true},` +
		`"empty":{"content_type":"image/png","revpos":2,"digest":"md5-3","length":0,"follows":true},` +
		`"b":{"content_type":"image/png","revpos":2,"digest":"md5-4","length":8,"follows":true}}}`
	docWithout = `{"_id":"a","_rev":"2-y","m":0.1000}`

	openRevsAnswer = "--outer\r\nContent-Type: multipart/related; boundary=\"inner\"\r\n\r\n" +
		"--inner\r\nContent-Type: application/json\r\n\r\n" + docWithAtts + "\r\n--inner" +
		"\r\nContent-Disposition: attachment; filename=\"say \"é\".txt\"\r\nContent-Type: text/plain\r\nContent-Length: 5\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\r\n-\r\n--inner" +
		"\r\nContent-Disposition: attachment; filename=\"empty\"\r\nContent-Type: image/png\r\nContent-Length: 0\r\n\r\n\r\n--inner" +
		"\r\nContent-Disposition: attachment; filename=\"b\"\r\nContent-Type: image/png\r\nContent-Length: 8\r\n\r\n--oute\r\n\r\n--inner--" +
		"\r\n--outer\r\nContent-Type: application/json\r\n\r\n" + docWithout +
		"\r\n--outer\r\nContent-Type: application/json; error=\"true\"\r\n\r\n{\"missing\":\"3-z\"}\r\n--outer--"
)

func mixed(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", `multipart/mixed; boundary="outer"`)
		_, _ = io.WriteString(w, body)
	}
}

type readRev struct {
	doc, missing string
	atts         []string
}

func readOpenRevs(db *DB) (out []readRev, err error) {
	o, err := db.OpenRevs(context.Background(), "a", []string{"2-x", "2-y", "3-z"}, OpenRevsOptions{Revs: true, Latest: true, Attachments: true})
	if err != nil {
		return nil, err
	}
	return readRevs(o)
}

func readRevs(o *OpenRevs) (out []readRev, err error) {
	defer func() { err = errors.Join(err, o.Close()) }()
	for {
		rev, err := o.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		read := readRev{doc: string(rev.Doc), missing: rev.Missing}
		for {
			att, err := rev.NextAttachment()
			if err == io.EOF {
				break
			}
			if err != nil {
				return out, err
			}
			b, err := io.ReadAll(att)
			if err != nil {
				return out, err
			}
			read.atts = append(read.atts, fmt.Sprintf("%s %s %s %d %q", att.Name, att.ContentType, att.Encoding, att.StoredLength(), b))
		}
		out = append(out, read)
	}
}

var wantOpenRevs = []readRev{
	{doc: docWithAtts, atts: []string{
		`say "é".txt text/plain gzip 5 "\x1f\x8b\r\n-"`, `empty image/png  0 ""`, `b image/png  8 "--oute\r\n"`,
	}},
	{doc: docWithout},
	{missing: "3-z"},
}

func TestOpenRevsReadsDocumentsAndTheirAttachments(t *testing.T) {
	got, err := readOpenRevs(serve(t, mixed(openRevsAnswer)))
	require.NoError(t, err)
	require.Equal(t, wantOpenRevs, got)
}

func TestOpenRevsPassesOverAttachmentsNobodyReads(t *testing.T) {
	o, err := serve(t, mixed(openRevsAnswer)).OpenRevs(context.Background(), "a", nil, OpenRevsOptions{Attachments: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, o.Close()) }()
	first, err := o.Next()
	require.NoError(t, err)
	_, err = first.NextAttachment()
	require.NoError(t, err)
	second, err := o.Next()
	require.NoError(t, err)
	require.Equal(t, "2-y", second.Meta.Rev)
	_, err = second.NextAttachment()
	require.Equal(t, io.EOF, err)
}

func TestOpenRevsCutAnywhereIsACut(t *testing.T) {
	for cut := 0; cut < len(openRevsAnswer); cut += 11 {
		for _, handler := range []http.HandlerFunc{mixed(openRevsAnswer[:cut]), func(w http.ResponseWriter, r *http.Request) {
			mixed(openRevsAnswer[:cut])(w, r)
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}} {
			got, err := readOpenRevs(serve(t, handler))
			var cutError *CutError
			require.ErrorAs(t, err, &cutError, "cut at %d", cut)
			for i := range got {
				require.Equal(t, wantOpenRevs[i], got[i])
			}
		}
	}
}

func TestAttachmentOfTheWrongLengthIsACut(t *testing.T) {
	for _, length := range []string{"7", "9"} {
		body := strings.Replace(openRevsAnswer, `"length":8`, `"length":`+length, 1)
		_, err := readOpenRevs(serve(t, mixed(body)))
		var cutError *CutError
		require.ErrorAs(t, err, &cutError)
	}
}

func TestOpenRevsReadsJSONOfServersWithoutMultipart(t *testing.T) {
	inline := `{"_id":"a","_rev":"1-x","n":0.10,"_attachments":{"t":{"content_type":"text/plain","revpos":1,"digest":"md5-1","data":"QUJD"}}}`
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, `[{"ok":`+inline+`},{"missing":"2-z"},{"ok":`+docWithout+`}]`)
	})
	got, err := readOpenRevs(db)
	require.NoError(t, err)
	require.Equal(t, []readRev{{doc: inline}, {missing: "2-z"}, {doc: docWithout}}, got)
}

func TestOpenRevsShortensAttsSinceUntilTheURLFits(t *testing.T) {
	var lengths []int
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		lengths = append(lengths, len(r.URL.RawQuery))
		if len(r.URL.RawQuery) > 1000 {
			w.WriteHeader(http.StatusRequestURITooLong)
			return
		}
		_, _ = io.WriteString(w, `[]`)
	})
	var since []string
	for i := range 1000 {
		since = append(since, fmt.Sprintf("%d-967a00dff5e02add41819138abb3284d", i))
	}
	o, err := db.OpenRevs(context.Background(), "a", []string{"1-x"}, OpenRevsOptions{Attachments: true, AttsSince: since})
	require.NoError(t, err)
	_, err = o.Next()
	require.Equal(t, io.EOF, err)
	require.NoError(t, o.Close())
	require.Len(t, lengths, 4)
	require.LessOrEqual(t, lengths[0], urlBudget)
	require.Greater(t, lengths[3], 500)
}

func TestOpenRevsAsksForManyRevisionsInSeveralRequests(t *testing.T) {
	var asked []string
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		require.Less(t, len(r.URL.RawQuery), urlBudget)
		var revs []string
		require.NoError(t, json.Unmarshal([]byte(r.URL.Query().Get("open_revs")), &revs))
		asked = append(asked, revs...)
		_, _ = io.WriteString(w, "[")
		for i, rev := range revs {
			_, _ = fmt.Fprintf(w, `%s{"missing":%q}`, strings.Repeat(",", min(i, 1)), rev)
		}
		_, _ = io.WriteString(w, "]")
	})
	var revs, got []string
	for i := range 500 {
		revs = append(revs, fmt.Sprintf("%d-967a00dff5e02add41819138abb3284d", i))
	}
	o, err := db.OpenRevs(context.Background(), "a", revs, OpenRevsOptions{})
	require.NoError(t, err)
	for {
		rev, err := o.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		got = append(got, rev.Missing)
	}
	require.NoError(t, o.Close())
	require.Equal(t, revs, asked)
	require.Equal(t, revs, got)
}

func upload(name, kind, encoding, data string) Upload {
	return Upload{Name: name, ContentType: kind, Encoding: encoding, Length: int64(len(data)), Open: func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(data)), nil
	}}
}

func TestPutMultipartSendsWhatCouchDBReads(t *testing.T) {
	tries := 0
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tries++
		if tries == 1 {
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(503)
			return
		}
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, "/db/_design%2Fnot/x?new_edits=false", strings.Replace(r.URL.RequestURI(), "_design/not%2Fx", "_design%2Fnot/x", 1))
		require.Equal(t, int64(len(body)), r.ContentLength)
		require.Empty(t, r.Header.Get("Content-Encoding"))
		kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		require.NoError(t, err)
		require.Equal(t, "multipart/related", kind)
		in := multipart.NewReader(bytes.NewReader(body), params["boundary"])
		part, err := in.NextRawPart()
		require.NoError(t, err)
		doc, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, docWithAtts, string(doc))
		for _, want := range []struct{ encoding, length, data string }{{"gzip", "5", "\x1f\x8b\r\n-"}, {"", "0", ""}, {"", "8", "--oute\r\n"}} {
			part, err := in.NextRawPart()
			require.NoError(t, err)
			data, err := io.ReadAll(part)
			require.NoError(t, err)
			require.Equal(t, want.data, string(data))
			require.Equal(t, want.encoding, part.Header.Get("Content-Encoding"))
			require.Equal(t, want.length, part.Header.Get("Content-Length"))
		}
		_, err = in.NextRawPart()
		require.Equal(t, io.EOF, err)
		status(201, `{"ok":true,"id":"a","rev":"2-x"}`)(w, r)
	})
	// Given in another order than the document's.
	err := db.PutMultipart(context.Background(), "_design/not/x", []byte(docWithAtts), []Upload{
		upload("b", "image/png", "", "--oute\r\n"), upload("empty", "image/png", "", ""), upload(`say "é".txt`, "text/plain\r\nX-Evil: 1", "gzip", "\x1f\x8b\r\n-"),
	})
	require.NoError(t, err)
	require.Equal(t, 2, tries)
}

func TestPutMultipartRefusesWhatDoesNotAgree(t *testing.T) {
	db := serve(t, func(http.ResponseWriter, *http.Request) { panic("nothing is sent") })
	one := `{"_id":"a","_attachments":{"a":{"content_type":"x","length":3,"follows":true}}}`
	for name, test := range map[string]struct {
		doc  string
		atts []Upload
	}{
		"missing":    {one, nil},
		"additional": {one, []Upload{upload("a", "x", "", "abc"), upload("b", "x", "", "abc")}},
		"length":     {one, []Upload{upload("a", "x", "", "abcd")}},
		"no JSON":    {`{`, nil},
	} {
		err := db.PutMultipart(context.Background(), "a", []byte(test.doc), test.atts)
		require.ErrorIs(t, err, ErrAttachments, name)
	}
}

func TestUploadsThatFailBreakTheRequest(t *testing.T) {
	one := []byte(`{"_id":"a","_attachments":{"a":{"content_type":"x","length":3,"follows":true}}}`)
	gone := errors.New("source gone")
	for name, open := range map[string]func() (io.ReadCloser, error){
		"open":  func() (io.ReadCloser, error) { return nil, gone },
		"short": func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("ab")), nil },
		"long":  func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("abcd")), nil },
	} {
		db := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
		})
		err := db.PutMultipart(context.Background(), "a", one, []Upload{{Name: "a", ContentType: "x", Length: 3, Open: open}})
		var e *RequestError
		require.ErrorAs(t, err, &e, name)
		require.ErrorContains(t, err, `attachment "a"`)
	}
}

func TestPutMultipartWithoutAttachmentsIsAPlainPut(t *testing.T) {
	s := &script{steps: []http.HandlerFunc{status(201, `{"ok":true,"rev":"1-x"}`)}}
	require.NoError(t, serve(t, s.ServeHTTP).PutMultipart(context.Background(), "a b", []byte(docWithout), nil))
	require.Equal(t, []string{"PUT /db/a%20b?new_edits=false " + docWithout}, s.asked)
}

func TestPutReadsBothShapesOfAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		`{"ok":true,"id":"a","rev":"1-x"}`:   "1-x",
		`[]`:                                 "",
		`[{"ok":true,"id":"a","rev":"1-x"}]`: "1-x",
	} {
		rev, err := serve(t, status(201, answer)).Put(context.Background(), "a", []byte(`{}`), nil)
		require.NoError(t, err)
		require.Equal(t, want, rev)
	}
	_, err := serve(t, status(201, `[{"id":"a","error":"forbidden","reason":"no"}]`)).Put(context.Background(), "a", []byte(`{}`), nil)
	require.Equal(t, PerDocument, Classify(err))
	_, err = serve(t, status(201, `7`)).Put(context.Background(), "a", []byte(`{}`), nil)
	require.ErrorIs(t, err, errShape)
}

func TestAttachmentIsReadAsItIsStored(t *testing.T) {
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != "/db/a%2Fb/sub%2Fa%20b%3F.txt?rev=1-x" || r.Header.Get("Accept-Encoding") != "gzip" {
			panic(r.URL.RequestURI())
		}
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "\x1f\x8bstored")
	})
	a, err := db.GetAttachment(context.Background(), "a/b", "1-x", "sub/a b?.txt", "gzip")
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Close()) }()
	data, err := io.ReadAll(a)
	require.NoError(t, err)
	require.Equal(t, "\x1f\x8bstored", string(data))
	require.Equal(t, []any{"gzip", "text/plain", int64(8)}, []any{a.Encoding, a.ContentType, a.Length})
}

func TestPutMultipartSaysNamesAndTypesAsTheyAre(t *testing.T) {
	var header string
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		header = string(text)
		_, _ = io.WriteString(w, `{"ok":true}`)
	})
	doc := `{"_id":"a","_rev":"1-x","_attachments":{"say \"é\"\n":{"content_type":"x; a=\"b c\"","revpos":1,"length":1,"follows":true}}}`
	err := db.PutMultipart(context.Background(), "a", []byte(doc), []Upload{{
		Name: "say \"é\"\n", ContentType: `x; a="b c"`, Length: 1,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("c")), nil },
	}})
	require.NoError(t, err)
	require.Contains(t, header, "\r\nContent-Disposition: attachment; filename=\"say %22é%22%0A\"\r\nContent-Type: x; a=\"b c\"\r\nContent-Length: 1\r\n\r\nc")
}

func TestHeadersOfPartsCanBeReadWhateverAttachmentsAreCalled(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := Upload{Name: rapid.String().Draw(t, "name"), ContentType: rapid.String().Draw(t, "type"), Encoding: rapid.String().Draw(t, "encoding")}
		part, err := multipart.NewReader(strings.NewReader("--b"+attachmentHeader(a)+"content\r\n--b--"), "b").NextRawPart()
		require.NoError(t, err)
		content, err := io.ReadAll(part)
		require.NoError(t, err)
		require.Equal(t, "content", string(content))
		require.LessOrEqual(t, len(part.Header), 4)
	})
}
