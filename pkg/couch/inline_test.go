package couch

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestPutInlineStreamsAttachmentsIntoTheDocument(t *testing.T) {
	doc := `{"_id":"a","n":1e400,"_attachments":{` +
		`"z\"\r\n":{"content_type":"x; a=\"b\"","revpos":3,"digest":"md5-1","length":7000,"follows":true},` +
		`"old":{"content_type":"text/plain","revpos":1,"digest":"md5-2","length":4,"stub":true},` +
		`"a\\b":{"content_type":"image/png","revpos":2,"digest":"md5-3","length":0,"follows":true},` +
		`"b":{"content_type":"image/png","revpos":2,"digest":"md5-4","length":4,"follows":true}},"m":0.10}`
	long := strings.Repeat("\x00\xffmill\n", 1000)
	tries := 0
	db := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		if tries++; tries == 1 {
			w.WriteHeader(503)
			return
		}
		require.Equal(t, "/db/a?new_edits=false", r.URL.RequestURI())
		require.Equal(t, "application/json", r.Header.Get("Content-Type"))
		require.Equal(t, int64(len(body)), r.ContentLength)
		require.True(t, strings.HasPrefix(string(body), `{"_id":"a","n":1e400,`) && strings.HasSuffix(string(body), `,"m":0.10}`))
		var got struct {
			Attachments map[string]struct {
				ContentType string `json:"content_type"`
				Revpos      int
				Digest      string
				Stub        bool
				Follows     bool
				Data        *[]byte
			} `json:"_attachments"`
		}
		require.NoError(t, json.Unmarshal(body, &got))
		for name, want := range map[string]string{"z\"\r\n": long, "a\\b": "", "b": "--x\r"} {
			att := got.Attachments[name]
			require.NotNil(t, att.Data, name)
			require.Equal(t, want, string(*att.Data))
			require.False(t, att.Follows)
			require.Empty(t, att.Digest)
		}
		require.Equal(t, `x; a="b"`, got.Attachments["z\"\r\n"].ContentType)
		require.Equal(t, 3, got.Attachments["z\"\r\n"].Revpos)
		require.True(t, got.Attachments["old"].Stub)
		status(201, `[]`)(w, r)
	})
	err := db.PutInline(context.Background(), "a", []byte(doc), []Upload{
		upload("b", "image/png", "", "--x\r"), upload("a\\b", "image/png", "", ""), upload("z\"\r\n", `x; a="b"`, "", long),
	})
	require.NoError(t, err)
	require.Equal(t, 2, tries)
}

func TestPutInlineBreaksTheRequestWhereAnUploadFails(t *testing.T) {
	one := []byte(`{"_id":"a","_attachments":{"a":{"content_type":"x","length":4,"follows":true}}}`)
	for name, open := range map[string]func() (io.ReadCloser, error){
		"open":  func() (io.ReadCloser, error) { return nil, errors.New("source gone") },
		"short": func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("abc")), nil },
		"long":  func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("abcde")), nil },
	} {
		db := serve(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
		})
		err := db.PutInline(context.Background(), "a", one, []Upload{{Name: "a", ContentType: "x", Length: 4, Open: open}})
		var e *RequestError
		require.ErrorAs(t, err, &e, name)
		require.ErrorContains(t, err, `attachment "a"`)
	}
	require.ErrorIs(t, serve(t, nil).PutInline(context.Background(), "a", one, nil), ErrAttachments)
}

func TestBase64PiecesAreAsLongAsAnnounced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		content := rapid.StringN(0, 10_000, 10_000).Draw(t, "content")
		p := base64Piece(bytesPiece([]byte(content)))
		rc, err := p.open()
		require.NoError(t, err)
		text, err := io.ReadAll(rc)
		require.NoError(t, err)
		require.Len(t, text, int(p.length))
		var back []byte
		require.NoError(t, json.Unmarshal([]byte(`"`+string(text)+`"`), &back))
		require.Equal(t, content, string(back))
	})
}
