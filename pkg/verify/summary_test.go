package verify

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDifferenceIsOneLineWhateverThingsAreCalled(t *testing.T) {
	for _, c := range []struct {
		difference Difference
		want       string
	}{
		{Difference{ID: "a", Kind: Attachment, Where: "b", Revs: []string{"1-x"}, A: "present"}, `"a" attachment "b" [1-x]: A present, B nothing`},
		{Difference{ID: "a", Kind: Attachment, Where: "", Revs: []string{"1-x"}, B: "present"}, `"a" attachment "" [1-x]: A nothing, B present`},
		{Difference{ID: "a\n", Kind: Attachment, Where: "\x1b[31m\r\n"}, `"a\n" attachment "\x1b[31m\r\n"`},
		{Difference{ID: "a", Kind: Body, Where: "/x/0/b c", A: "1", B: "2"}, `"a" body /x/0/b c: A 1, B 2`},
		{Difference{ID: "a", Kind: Body, Where: "/\u0085", A: "1"}, `"a" body "/\u0085": A 1, B nothing`},
	} {
		require.Equal(t, c.want, c.difference.String())
	}
}
