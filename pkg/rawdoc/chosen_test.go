package rawdoc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// What CouchDB 3.5.0 gave a filter function for the first document, read in four ways.
func TestWhatFunctionsSeeDoesNotDependOnHowItWasRead(t *testing.T) {
	const want = `{"_id":"doc","_rev":"4-adfd","list":[1],"big":12345678901234567890123,"z":0.1000,"_deleted":true,` +
		`"_revisions":{"start":4,"ids":["adfd"]},"_attachments":{` +
		`"a.txt":{"content_type":"text/plain","revpos":1,"digest":"md5-F5g==","length":6,"stub":true},` +
		`"b/b":{"content_type":"image/png","revpos":2,"digest":"md5-aT6==","length":3,"stub":true}}}`
	const body = `"list":[1],"big":12345678901234567890123,"z":0.1000`
	const revs = `"_revisions":{"start":4,"ids":["adfd","cd94","6403","3075"]}`
	for _, read := range []string{
		want,
		`{"_id":"doc","_rev":"4-adfd",` + body + `,"_deleted":true,` + revs + `,"_attachments":{` +
			`"a.txt":{"content_type":"text/plain","revpos":1,"digest":"md5-F5g==","length":6,"stub":true,"encoding":"gzip","encoded_length":26},` +
			`"b/b":{"content_type":"image/png","revpos":2,"digest":"md5-aT6==","length":3,"stub":true}}}`,
		`{"_id":"doc","_rev":"4-adfd",` + body + `,"_deleted":true,` + revs + `,"_attachments":{` +
			`"a.txt":{"content_type":"text/plain","revpos":1,"digest":"md5-F5g==","length":6,"follows":true,"encoding":"gzip","encoded_length":26},` +
			`"b/b":{"content_type":"image/png","revpos":2,"digest":"md5-aT6==","data":"A\/AA"}}}`,
		` { "_attachments" : {"a.txt":{"digest":"md5-F5g==","revpos":1,"content_type":"text/plain","data":"` +
			base64.StdEncoding.EncodeToString([]byte("hello ")) + `"},` +
			`"b\/b":{"content_type":"image/png","digest":"md5-aT6==","length":3,"revpos":2,"stub":true}},` + body +
			`, "_deleted":true, "_conflicts":["1-x"],"_local_seq":3, "_rev":"4-adfd","_id":"doc"}`,
	} {
		var s Scanner
		got, err := s.ForFunction([]byte(read))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
		got, err = s.ForSelector([]byte(read))
		require.NoError(t, err)
		require.JSONEq(t, want, string(got[:len(got)-1])+`,"_revisions":{"start":4,"ids":["adfd"]}}`)
		require.NotContains(t, string(got), "_revisions")
	}
}

func TestChosenKeepsWhatIsNoMetadata(t *testing.T) {
	for doc, want := range map[string]string{
		`{}`: `{}`,
		`{"_id":"a","_rev":"1-x","_attachments":{},"_deleted":false}`: `{"_id":"a","_rev":"1-x","_revisions":{"start":1,"ids":["x"]}}`,
		`{"a":1,"a":2,"_id":"x","_replication_state":"error"}`:        `{"_id":"x","a":1,"a":2,"_replication_state":"error"}`,
	} {
		var s Scanner
		got, err := s.ForFunction([]byte(doc))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	for _, doc := range []string{`[]`, `{"_rev":1}`, `{"_rev":"x"}`, `{"_rev":"-1-x"}`, `{"_attachments":[]}`, `{`} {
		_, err := (&Scanner{}).ForFunction([]byte(doc))
		require.Error(t, err, doc)
	}
}

func TestLengthOfInlineContents(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.SliceOf(rapid.Byte()).Draw(t, "content")
		doc := fmt.Sprintf(`{"_attachments":{"a":{"data":%q}}}`, base64.StdEncoding.EncodeToString(content))
		got, err := (&Scanner{}).ForSelector([]byte(doc))
		require.NoError(t, err)
		m, err := Scan(got)
		require.NoError(t, err)
		require.Equal(t, int64(len(content)), m.Attachments[0].Length)
	})
}

// What functions see is JSON with the body's members as they were; seen again it is the same.
func FuzzChosen(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		var s Scanner
		got, err := s.ForFunction(doc)
		if err != nil {
			return
		}
		require.True(t, json.Valid(got), "%q", got)
		metadata := func(all []member) []member {
			for _, name := range []string{"_id", "_rev", "_deleted", "_attachments", "_revisions", "_revs_info", "_local_seq", "_conflicts", "_deleted_conflicts"} {
				all = without(all, name)
			}
			return all
		}
		require.Equal(t, metadata(membersOf(t, doc)), metadata(membersOf(t, got)))
		again, err := s.ForFunction(got)
		require.NoError(t, err)
		require.Equal(t, string(got), string(again))
	})
}
