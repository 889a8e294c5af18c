package couch

import (
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"millrace/pkg/rawdoc"
)

// rudeNames are names and types of attachments that end headers, or look like others.
var (
	rudeNames = []string{
		"plain", "new\nline", "empty\r\n\r\nline", "\r\n\r\n\r\n\r\n", "x\"\r\nContent-Length: 3\r\n\r\nabc",
		"back\\slash", "end\r\n", "nul\x00", "caf\u00e9 \u6c34",
	}
	rudeTypes = []string{"image/png", "text/plain", "text/plain\r\n\r\nboo", `x/y; a="é"`}
)

// rudeContent is what the attachment with this name holds.
func rudeContent(name string) string { return name + " in words, in words" }

// recordedNames is CouchDB 3.5.0's answer for a document with rudeNames, and an attachment
// that has neither content nor a name or a type of anything but line ends.
//
//go:embed testdata/openrevs_names.multipart
var recordedNames string

// openRecorded opens the recorded answer, or what is made of it.
func openRecorded(t *testing.T, answer string) *OpenRevs {
	t.Helper()
	boundary, _, _ := strings.Cut(strings.TrimPrefix(recordedNames, "--"), "\r\n")
	o, err := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", `multipart/mixed; boundary="`+boundary+`"`)
		_, _ = io.WriteString(w, answer)
	}).OpenRevs(context.Background(), "names", nil, OpenRevsOptions{Attachments: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, o.Close()) })
	return o
}

// contents reads all attachments of the next revision; texts that the server gzipped as they come.
func contents(o *OpenRevs) (map[string]string, error) {
	rev, err := o.Next()
	if err != nil {
		return nil, err
	}
	read := map[string]string{}
	for {
		att, err := rev.NextAttachment()
		if err == io.EOF {
			return read, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(att)
		if err != nil {
			return nil, err
		}
		if att.Encoding == "gzip" {
			content = []byte("gzip")
		}
		read[att.Name] = string(content)
	}
}

func wantedContents() map[string]string {
	want := map[string]string{"\r\n\r\n": ""}
	for i, name := range rudeNames {
		want[name] = rudeContent(name)
		if i%len(rudeTypes) == 1 { // a plain text type
			want[name] = "gzip"
		}
	}
	return want
}

func TestAttachmentsWhoseNamesAndTypesEndHeadersAreRead(t *testing.T) {
	o := openRecorded(t, recordedNames)
	got, err := contents(o)
	require.NoError(t, err)
	require.Equal(t, wantedContents(), got)
	_, err = o.Next()
	require.Equal(t, io.EOF, err)
}

func TestAttachmentsWhoseNamesEndHeadersMayBePassedOver(t *testing.T) {
	o := openRecorded(t, recordedNames)
	_, err := o.Next()
	require.NoError(t, err)
	_, err = o.Next()
	require.Equal(t, io.EOF, err)

	o = openRecorded(t, recordedNames)
	rev, err := o.Next()
	require.NoError(t, err)
	for range rudeNames {
		_, err := rev.NextAttachment()
		require.NoError(t, err)
	}
	last, err := rev.NextAttachment()
	require.NoError(t, err)
	content, err := io.ReadAll(last)
	require.NoError(t, err)
	require.Empty(t, content)
}

func TestAnswerWithRudeNamesThatIsCutIsACut(t *testing.T) {
	for cut := 1; cut < len(recordedNames)-1; cut += 7 {
		o := openRecorded(t, recordedNames[:cut])
		_, err := contents(o)
		if err == nil { // the attachments were all there, but not the answer's end
			_, err = o.Next()
		}
		var broken *CutError
		require.ErrorAs(t, err, &broken, "cut at %d", cut)
	}
}

func TestFewerPartsThanAnnouncedAreACut(t *testing.T) {
	body := strings.Replace(openRevsAnswer, `"old":{`, `"old":{"follows":true,`, 1)
	_, err := readOpenRevs(serve(t, mixed(body)))
	var broken *CutError
	require.ErrorAs(t, err, &broken)
}

func TestRealServerAttachmentsWhoseNamesEndHeadersAreCarried(t *testing.T) {
	onServers(t, func(t *testing.T, open func(string) *DB) {
		ctx := context.Background()
		source, target := open("s"), open("t")
		var entries []string
		for i, name := range rudeNames {
			entries = append(entries, fmt.Sprintf(`%s:{"content_type":%s,"data":%q}`, appendString(nil, name),
				appendString(nil, rudeTypes[i%len(rudeTypes)]), base64.StdEncoding.EncodeToString([]byte(rudeContent(name)))))
		}
		_, err := source.Put(ctx, "names", fmt.Appendf(nil, `{"_attachments":{%s}}`, strings.Join(entries, ",")), nil)
		require.NoError(t, err)
		copyRevs(t, source, target, "names")
		want, err := source.Get(ctx, "names", url.Values{"att_encoding_info": {"true"}, "revs": {"true"}})
		require.NoError(t, err)
		got, err := target.Get(ctx, "names", url.Values{"att_encoding_info": {"true"}, "revs": {"true"}})
		require.NoError(t, err)
		require.JSONEq(t, string(want), string(got)) // digests included
	})
}

// CouchDB's parts are read whatever names, types and contents they have.
func TestRelatedReadsWhateverPartsHold(t *testing.T) {
	piece := rapid.SampledFrom([]string{"x", "\r\n", "\r\n\r\n", "\n", "\r", "--", "--b", "--inner", "--inne", "\"", "Content-Type: ", strings.Repeat("y", 5000)})
	text := rapid.Map(rapid.SliceOf(piece), func(pieces []string) string { return strings.Join(pieces, "") })
	part := rapid.Custom(func(t *rapid.T) rawdoc.Attachment {
		data := strings.ReplaceAll(text.Draw(t, "content"), "--inner", "--outer") // a boundary is what no content has
		return rawdoc.Attachment{Name: text.Draw(t, "name"), ContentType: text.Draw(t, "type"), Length: int64(len(data)), Data: []byte(data)}
	})
	rapid.Check(t, func(t *rapid.T) {
		atts := rapid.SliceOfN(part, 1, 5).Draw(t, "attachments")
		for i, a := range atts {
			atts[i].Name = strings.ReplaceAll(a.Name, "--inner", "")
			atts[i].ContentType = strings.ReplaceAll(a.ContentType, "--inner", "")
		}
		doc := strings.Repeat("{}", rapid.IntRange(0, 5000).Draw(t, "length"))
		body := "--inner\r\nContent-Type: application/json\r\n\r\n" + doc + "\r\n--inner"
		for _, a := range atts {
			body += fmt.Sprintf("\r\nContent-Disposition: attachment; filename=\"%s\"\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s\r\n--inner",
				a.Name, a.ContentType, a.Length, a.Data)
		}
		r := newRelated(iotest.HalfReader(strings.NewReader(body+"--")), "inner")
		got, err := r.document()
		require.NoError(t, err)
		require.Equal(t, doc, string(got))
		skipped := rapid.SliceOfN(rapid.Bool(), len(atts), len(atts)).Draw(t, "skipped")
		for i, a := range atts {
			content, err := r.attachment(a)
			require.NoError(t, err)
			if skipped[i] {
				continue
			}
			data, err := io.ReadAll(content)
			require.NoError(t, err)
			require.Equal(t, string(a.Data), string(data))
		}
		_, err = r.attachment(rawdoc.Attachment{})
		require.True(t, errors.Is(err, errShape), "%v", err)
	})
}
