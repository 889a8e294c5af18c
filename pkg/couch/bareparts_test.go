package couch

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/textproto"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestAttachmentNamesWithLineBreaksBreakNoAnswer(t *testing.T) {
	long := strings.Repeat("\n\u6c34 ", 3000) // longer than the reader's buffer
	for _, name := range []string{"new\nline", "a\r\nb: c", "\n", "\n\n", long} {
		answer := strings.ReplaceAll(openRevsAnswer, `filename="b"`, `filename="`+name+`"`)
		got, err := readOpenRevs(serve(t, mixed(answer)))
		require.NoError(t, err)
		require.Equal(t, wantOpenRevs, got)
	}
}

// Whatever parts hold, without their headers they hold it still.
func TestBarePartsKeepContent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		piece := rapid.SampledFrom([]string{"x", "\r\n", "\n", "\r", "--", "--b", "--inner", "--inne", "--inner\n", strings.Repeat("y", 5000)})
		contents := rapid.SliceOfN(rapid.SliceOf(piece), 1, 5).Draw(t, "contents")
		var body bytes.Buffer
		w := multipart.NewWriter(&body)
		var want []string
		for _, pieces := range contents {
			want = append(want, strings.Join(pieces, ""))
			part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"image/png"}})
			require.NoError(t, err)
			_, err = io.WriteString(part, want[len(want)-1])
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		r := multipart.NewReader(newBareParts(iotest.HalfReader(&body), w.Boundary()), w.Boundary())
		var got []string
		for {
			part, err := r.NextRawPart()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			require.Empty(t, part.Header)
			content, err := io.ReadAll(part)
			require.NoError(t, err)
			got = append(got, string(content))
		}
		require.Equal(t, want, got)
	})
}
