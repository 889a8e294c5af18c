package rawdoc

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// member is a member of an object as encoding/json, which shares no code with what is
// tested here, reads it.
type member struct {
	name  string
	value string // its bytes
}

// membersOf reads an object in order, with what is repeated.
func membersOf(t *testing.T, object []byte) []member {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(object))
	open, err := dec.Token()
	require.NoError(t, err, "%q", object)
	require.Equal(t, json.Delim('{'), open)
	var members []member
	for dec.More() {
		name, err := dec.Token()
		require.NoError(t, err)
		var value json.RawMessage
		require.NoError(t, dec.Decode(&value))
		members = append(members, member{name.(string), string(value)})
	}
	return members
}

// last is the value of a member; of a repeated one the last.
func last(members []member, name string) (value string) {
	for _, m := range members {
		if m.name == name {
			value = m.value
		}
	}
	return value
}

// without are the members but for those of a name.
func without(members []member, name string) []member {
	kept := []member{}
	for _, m := range members {
		if m.name != name {
			kept = append(kept, m)
		}
	}
	return kept
}

// decoded is a value as encoding/json decodes it; nothing is the zero value.
func decoded[T any](t *testing.T, value string) (v T) {
	t.Helper()
	if value != "" {
		require.NoError(t, json.Unmarshal([]byte(value), &v), "%q", value)
	}
	return v
}

func seeds(f *testing.F) [][]byte {
	f.Helper()
	all := [][]byte{}
	for _, seed := range []string{
		`{"_id":"a","_rev":"1-x","_attachments":{"a":{"length":1,"stub":true}},"_revisions":{"start":1,"ids":["x"]}}`,
		`{"_deleted":true,"x":{"y":[1,2,{"z":null}]}}`, `{"_attachments":{},"a":1,"_attachments":{}}`, `{"\u005fid":"\ud800"}`, `{`, `[]`, "{\"\xff\":1}",
		`{"_attachments":{"a":{"stub":true},"b":{"data":"QQ=="},"a":{"digest":"md5-\u0041"}}, "n" : 1e400 }`,
		`{"_attachments":{"a":{"length":-1}}}`, `{"_attachments":null}`, `{"_id":null,"_rev":null,"_revisions":{"start":null,"ids":[null]}}`,
		`{"_attachments":{"a":{"length":1,"length":null,"encoding":"gzip","encoded_length":3}},"_attachments":{"b":{}}}`,
	} {
		all = append(all, []byte(seed))
	}
	// Documents as real servers hand them out.
	files, err := filepath.Glob("../couch/testdata/answers/*bulkget*.json")
	require.NoError(f, err)
	require.NotEmpty(f, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(f, err)
		var answer struct {
			Results []struct {
				Docs []struct {
					OK json.RawMessage `json:"ok"`
				} `json:"docs"`
			} `json:"results"`
		}
		require.NoError(f, json.Unmarshal(text, &answer))
		for _, r := range answer.Results {
			for _, d := range r.Docs {
				all = append(all, d.OK)
			}
		}
	}
	return all
}

// What is accepted is JSON, and what it says is what encoding/json finds in it. A Scanner
// remembers nothing of the document before.
func FuzzScan(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed, []byte(`{"_id":"before","_attachments":{"x":{"follows":true}}}`))
	}
	f.Fuzz(func(t *testing.T, doc, before []byte) {
		original := bytes.Clone(doc)
		m, err := Scan(doc)
		require.Equal(t, original, doc)
		var s Scanner
		_, _ = s.Scan(before)
		again, errAgain := s.Scan(doc)
		require.Equal(t, err == nil, errAgain == nil)
		if err != nil {
			return
		}
		require.Equal(t, m, again)
		require.True(t, json.Valid(doc), "%q", doc)
		members := membersOf(t, doc)
		require.Equal(t, decoded[string](t, last(members, "_id")), m.ID)
		require.Equal(t, decoded[string](t, last(members, "_rev")), m.Rev)
		require.Equal(t, last(members, "_deleted") == "true", m.Deleted)
		require.Equal(t, last(members, "_revisions"), string(m.RawRevisions))
		checkAttachments(t, last(members, "_attachments"), m.Attachments)
		if revs, err := ParseRevisions(m.RawRevisions); err == nil {
			checkRevisions(t, m.RawRevisions, revs)
		}
	})
}

func checkAttachments(t *testing.T, raw string, got []Attachment) {
	t.Helper()
	if raw == "" {
		require.Empty(t, got)
		return
	}
	entries := membersOf(t, []byte(raw))
	require.Len(t, got, len(entries))
	for i, entry := range entries {
		said := membersOf(t, []byte(entry.value))
		text := func(name string) string { return decoded[string](t, last(said, name)) }
		number := func(name string) int64 { return decoded[int64](t, last(said, name)) }
		want := Attachment{
			Name: entry.name, ContentType: text("content_type"), Digest: text("digest"), RevPos: number("revpos"),
			Length: number("length"), Encoding: text("encoding"), EncodedLength: number("encoded_length"),
			Stub: last(said, "stub") == "true", Follows: last(said, "follows") == "true",
		}
		if data := last(said, "data"); data != "" {
			want.Data = []byte(data[1 : len(data)-1])
		}
		require.Equal(t, want, got[i])
		require.GreaterOrEqual(t, got[i].StoredLength(), int64(0))
	}
}

func checkRevisions(t *testing.T, raw []byte, got Revisions) {
	t.Helper()
	members := membersOf(t, raw)
	require.Equal(t, decoded[int64](t, last(members, "start")), got.Start)
	if len(without(members, "ids"))+1 == len(members) { // repeated lists are joined
		require.Equal(t, decoded[[]string](t, last(members, "ids")), got.IDs)
	}
}

// All that is no attachment keeps its bytes and its place (invariant 7).
func FuzzSetAttachments(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		m, err := Scan(doc)
		if err != nil {
			return
		}
		rest := without(membersOf(t, doc), "_attachments")

		removed, err := ReplaceAttachments(doc, nil)
		require.NoError(t, err)
		require.Equal(t, rest, append([]member{}, membersOf(t, removed)...))

		replaced, err := ReplaceAttachments(doc, []byte(`{"n":{"length":5}}`))
		require.NoError(t, err)
		require.Equal(t, rest, without(membersOf(t, replaced), "_attachments"))
		got, err := Scan(replaced)
		require.NoError(t, err, "%q", replaced)
		require.Equal(t, []Attachment{{Name: "n", Length: 5}}, got.Attachments)

		var want []Attachment
		byName := map[string]Attachment{}
		for _, a := range m.Attachments {
			a.Stub, a.Data, a.Follows = false, nil, true
			if a.Encoding == "" {
				a.EncodedLength = 0 // means nothing then, and is not written
			}
			byName[a.Name] = a
		}
		for _, a := range m.Attachments {
			want = append(want, byName[a.Name])
		}
		set, err := SetAttachments(doc, want)
		require.NoError(t, err)
		require.Equal(t, rest, without(membersOf(t, set), "_attachments"))
		got, err = Scan(set)
		require.NoError(t, err, "%q", set)
		require.Equal(t, want, got.Attachments)
		require.Equal(t, []string{m.ID, m.Rev}, []string{got.ID, got.Rev})

		_, err = SetAttachments(doc, []Attachment{{Name: "not there " + string(doc)}})
		require.ErrorIs(t, err, ErrNotDocument)
	})
}
