package rawdoc

import (
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestScanReadsUnderscoreMembers(t *testing.T) {
	doc := `{"_id":"a\"\u00e9","_rev":"2-x","big":1e400,"n":0.1000,"_deleted":true,` +
		`"_revisions":{"start":2,"ids":["x","y"]},"nested":{"_id":"no","_deleted":false},` +
		`"_attachments":{` +
		`"b\/1":{"content_type":"text/plain","revpos":2,"digest":"md5-q==","length":10,"follows":true,"encoding":"gzip","encoded_length":7},` +
		`"a":{"content_type":"image/png","revpos":1,"digest":"md5-r==","length":3,"stub":true},` +
		`"c":{"content_type":"image/png","data":"QUJD"}}}`
	m, err := Scan([]byte(doc))
	require.NoError(t, err)
	require.Equal(t, `a"é`, m.ID)
	require.Equal(t, "2-x", m.Rev)
	require.True(t, m.Deleted)
	require.Equal(t, []Attachment{
		{Name: "b/1", ContentType: "text/plain", RevPos: 2, Digest: "md5-q==", Length: 10, Follows: true, Encoding: "gzip", EncodedLength: 7},
		{Name: "a", ContentType: "image/png", RevPos: 1, Digest: "md5-r==", Length: 3, Stub: true},
		{Name: "c", ContentType: "image/png", Data: []byte("QUJD")},
	}, m.Attachments)
	require.Equal(t, m.Attachments[:1], m.Following())
	require.Equal(t, int64(7), m.Attachments[0].StoredLength())
	require.Equal(t, int64(3), m.Attachments[1].StoredLength())
	revs, err := ParseRevisions(m.RawRevisions)
	require.NoError(t, err)
	require.Equal(t, Revisions{Start: 2, IDs: []string{"x", "y"}}, revs)
}

func TestScanTakesWhatCouchDBStores(t *testing.T) {
	for name, doc := range map[string]string{
		"empty":           `{}`,
		"white space":     " \n{ \"_id\" : \"a\" }\n ",
		"repeated names":  `{"x":1,"x":2,"_id":"no","_id":"a"}`,
		"invalid UTF-8":   "{\"x\":\"\xff\xfe\"}",
		"lone surrogates": `{"x":"\ud800"}`,
		"large numbers":   `{"x":[1e400,-0,9223372036854775808,0.1000]}`,
		"escaped name":    `{"\u005fid":"a"}`,
		"null members":    `{"_id":"a","_rev":null,"_attachments":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Scan([]byte(doc))
			require.NoError(t, err)
			if strings.Contains(doc, "id") {
				require.Equal(t, "a", m.ID)
			}
		})
	}
}

func TestScanRefusesWhatIsNotADocument(t *testing.T) {
	for _, doc := range []string{``, ` `, `[]`, `"a"`, `1`, `{`, `{"a":1`, `{"a":1,}`, `{"a":1}{`, `{"a":1} 2`, `{"_id":1}`, `{"_attachments":[]}`,
		`{"_attachments":{"a":1}}`, `{"_attachments":{"a":{"length":"x"}}}`, `{"_attachments":{"a":{"data":1}}}`, `{a:1}`} {
		_, err := Scan([]byte(doc))
		require.Error(t, err, doc)
		require.NotErrorIs(t, err, io.EOF, doc)
	}
	_, err := Scan([]byte(`[]`))
	require.ErrorIs(t, err, ErrNotDocument)
}

func TestScannerKeepsNothingFromTheDocumentBefore(t *testing.T) {
	var s Scanner
	_, err := s.Scan([]byte(`{"_id":"a","_rev":"1-x","_deleted":true`))
	require.Error(t, err)
	m, err := s.Scan([]byte(`{"x":1}`))
	require.NoError(t, err)
	require.Equal(t, Meta{}, m)
}

func TestReplaceAttachmentsLeavesAllOtherBytes(t *testing.T) {
	for _, test := range []struct{ doc, value, want string }{
		{`{"a": 1e400 ,"_attachments" : {"x":{}} , "b":0.10}`, `{"y":1}`, `{"a": 1e400 ,"_attachments" : {"y":1} , "b":0.10}`},
		{`{"a": 1 ,"_attachments":{} , "b":2}`, ``, `{"a": 1 ,"b":2}`},
		{`{"_attachments":{}, "b":2 }`, ``, `{"b":2 }`},
		{`{ "b":2 , "_attachments":{} }`, ``, `{ "b":2 }`},
		{`{ "_attachments":{} }`, ``, `{  }`},
		{`{"a":1,"_attachments":{},"b":2,"_attachments":{},"_attachments":{}}`, ``, `{"a":1,"b":2}`},
		{`{"a":1,"_attachments":{},"_attachments":1}`, `{"y":1}`, `{"a":1,"_attachments":{"y":1},"_attachments":{"y":1}}`},
		{`{"a":1 } `, `{"y":1}`, `{"a":1 ,"_attachments":{"y":1}} `},
		{`{}`, `{"y":1}`, `{"_attachments":{"y":1}}`},
		{`{"a":{"_attachments":{}}}`, ``, `{"a":{"_attachments":{}}}`},
	} {
		var value []byte
		if test.value != "" {
			value = []byte(test.value)
		}
		doc := []byte(test.doc)
		got, err := ReplaceAttachments(doc, value)
		require.NoError(t, err)
		require.Equal(t, test.want, string(got))
		require.Equal(t, test.doc, string(doc), "the input is left alone")
	}
}

func TestSetAttachmentsTurnsStubsIntoFollowing(t *testing.T) {
	doc := `{"n":1e400,"_attachments":{"a":{"stub":true,"length":3,"content_type":"x","revpos":1}, "b\"":{"data":"QQ==","content_type":"y","z":0.10}},"m":[0.10]}`
	m, err := Scan([]byte(doc))
	require.NoError(t, err)
	a := m.Attachments[0]
	a.Stub, a.Follows, a.Encoding, a.EncodedLength, a.Digest = false, true, "gzip", 2, "md5-x=="
	got, err := SetAttachments([]byte(doc), []Attachment{a})
	require.NoError(t, err)
	require.Equal(t, `{"n":1e400,"_attachments":{"a":{"content_type":"x","revpos":1,"digest":"md5-x==","length":3,"encoding":"gzip","encoded_length":2,"follows":true},`+
		`"b\"":{"data":"QQ==","content_type":"y","z":0.10}},"m":[0.10]}`, string(got))

	_, err = SetAttachments([]byte(doc), []Attachment{{Name: "c"}})
	require.ErrorIs(t, err, ErrNotDocument)
}

func TestSetAttachmentsIsReadBackByScan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.String(), 1, 5, rapid.ID[string]).Draw(t, "names")
		doc, err := json.Marshal(map[string]any{"_id": "a", "_attachments": entries(names), "z": 1})
		require.NoError(t, err)
		m, err := Scan(doc)
		require.NoError(t, err)
		for i := range m.Attachments {
			m.Attachments[i].Length = rapid.Int64Min(0).Draw(t, "length")
			m.Attachments[i].ContentType = rapid.String().Draw(t, "type")
			m.Attachments[i].Follows = rapid.Bool().Draw(t, "follows")
		}
		doc, err = SetAttachments(doc, m.Attachments)
		require.NoError(t, err)
		got, err := Scan(doc)
		require.NoError(t, err)
		require.Equal(t, m.Attachments, got.Attachments)
	})
}

func entries(names []string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		out[n] = map[string]any{}
	}
	return out
}

func BenchmarkScan(b *testing.B) {
	doc := []byte(`{"_id":"doc-000001","_rev":"1-967a00dff5e02add41819138abb3284d","type":"x","text":"` + strings.Repeat("lorem ipsum ", 80) + `","n":[1,2,3],"o":{"a":true}}`)
	var s Scanner
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Scan(doc); err != nil {
			b.Fatal(err)
		}
	}
}
