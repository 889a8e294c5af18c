package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func form(t require.TestingT, value string) string {
	var c canonicalizer
	out, err := c.append(nil, []byte(value))
	require.NoError(t, err, value)
	return string(out)
}

func TestValuesThatMeanTheSame(t *testing.T) {
	for _, same := range [][]string{
		{`1`, `1.0`, `10e-1`, `1E0`, `0.1e+1`, `100e-2`},
		{`0`, `-0`, `0.00`, `0e400`, `-0.0E-7`},
		{`1e400`, `10e399`, `0.1e401`},
		{`-12.50`, `-1.25e1`},
		{`1e99999999999999999999999`, `10e99999999999999999999998`},
		{`9223372036854775808`, `9223372036854775808.0`},
		{`"é/\n"`, `"\u00e9\/\u000a"`, `"\u00E9/\u000A"`},
		{`"😀"`, `"\ud83d\ude00"`},
		{`{"a":1,"b":[2]}`, `{ "b" : [ 2.0 ] , "\u0061" : 1 }`},
		{`{"x":{"b":1,"a":{"d":1,"c":2}},"w":1}`, `{"w":1,"x":{"a":{"c":2,"d":1},"b":1}}`},
		{`null`, ` null `},
	} {
		for _, other := range same[1:] {
			require.Equal(t, form(t, same[0]), form(t, other), "%s and %s", same[0], other)
		}
	}
}

func TestValuesThatDiffer(t *testing.T) {
	different := []string{
		`null`, `false`, `true`, `0`, `1`, `-1`, `10`, `0.1`, `1e400`, `1e401`, `1e-400`,
		`9007199254740992`, `9007199254740993`, `18446744073709551616`, `0.1000000000000000000001`,
		`1e99999999999999999999999`, `1e99999999999999999999998`,
		`""`, `"0"`, `"null"`, `"a"`, `"\ud800"`, `"\udfff"`, `"\ufffd"`, "\"\xff\"", `"\u0000"`,
		`[]`, `[0]`, `[[]]`, `[[],[]]`, `[0,1]`, `[1,0]`, `["0,1"]`, `["a","b"]`, `["ab"]`, `[[0],1]`, `[[0,1]]`,
		`{}`, `{"a":1}`, `{"a":1,"a":1}`, `{"a":1,"a":2}`, `{"a":2,"a":1}`, `{"a":null}`, `{"a":{"b":1}}`, `{"a":{},"b":1}`, `{"b":1}`, `[{}]`,
	}
	seen := map[string]string{}
	for _, value := range different {
		f := form(t, value)
		require.NotContains(t, seen, f, "%s and %s", value, seen[f])
		seen[f] = value
	}
}

func TestNumbersHaveOneFormForOneValue(t *testing.T) {
	number := rapid.StringMatching(`-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,6})?([eE][+-]?[0-9]{1,2})?`)
	rapid.Check(t, func(t *rapid.T) {
		x, y := number.Draw(t, "x"), number.Draw(t, "y")
		ratX, _ := new(big.Rat).SetString(x)
		ratY, _ := new(big.Rat).SetString(y)
		require.Equal(t, ratX.Cmp(ratY) == 0, form(t, x) == form(t, y))

		// The form is a number of the same value.
		f := string(appendNumber(nil, []byte(x)))
		ratF, ok := new(big.Rat).SetString(f)
		require.True(t, ok, f)
		require.Zero(t, ratX.Cmp(ratF))
		shifted := x
		if !strings.ContainsAny(x, "eE") {
			shifted += "e0"
		}
		require.Equal(t, form(t, x), form(t, shifted))
	})
}

// values draws JSON values.
func values(depth int) *rapid.Generator[any] {
	scalars := []*rapid.Generator[any]{
		rapid.Just[any](nil), rapid.Bool().AsAny(), rapid.Float64Range(-1e9, 1e9).AsAny(), rapid.Int64().AsAny(), rapid.String().AsAny(),
	}
	if depth == 0 {
		return rapid.OneOf(scalars...)
	}
	return rapid.OneOf(append(scalars,
		rapid.SliceOfN(values(depth-1), 0, 4).AsAny(),
		rapid.MapOfN(rapid.String(), values(depth-1), 0, 4).AsAny(),
	)...)
}

// objects draws what may be a body.
func objects() *rapid.Generator[map[string]any] {
	return rapid.MapOfN(rapid.StringN(1, 5, -1), values(3), 0, 5)
}

// shuffled writes a value with the members of objects in any order.
func shuffled(v any, r *rand.Rand) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for name, value := range v {
			parts = append(parts, shuffled(name, r)+" : "+shuffled(value, r))
		}
		r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
		return "{" + strings.Join(parts, " ,") + "}"
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = shuffled(v[i], r)
		}
		return "[ " + strings.Join(parts, ",") + "]"
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			panic(err) // it was drawn to be JSON
		}
		return string(raw)
	}
}

func TestOrderOfMembersDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := objects().Draw(t, "value")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		x, y := shuffled(v, r), shuffled(v, r)
		require.Equal(t, form(t, x), form(t, y))
		_, differ, err := locate([]byte(x), []byte(y))
		require.NoError(t, err)
		require.False(t, differ)
	})
}

func TestAPlaceIsFoundIfAndOnlyIfBodiesDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, err := json.Marshal(objects().Draw(t, "x"))
		require.NoError(t, err)
		y, err := json.Marshal(objects().Draw(t, "y"))
		require.NoError(t, err)
		at, differ, err := locate(x, y)
		require.NoError(t, err)
		require.Equal(t, form(t, string(x)) != form(t, string(y)), differ)
		require.Equal(t, differ, at.pointer != "")
	})
}

func TestPlaces(t *testing.T) {
	for _, test := range []struct{ a, b, pointer, atA, atB string }{
		{`{"_rev":"1-a","x":1}`, `{"_rev":"1-b","x":1.0}`, "", "", ""},
		{`{"x":1}`, `{"x":2}`, "/x", "1", "2"},
		{`{"x":1.10}`, `{"x":"1.10"}`, "/x", "1.10", `"1.10"`},
		{`{"x":1}`, `{}`, "/x", "1", ""},
		{`{"b":1}`, `{"a":1,"b":1}`, "/a", "", "1"},
		{`{"x":[1,2]}`, `{"x":[1]}`, "/x/1", "2", ""},
		{`{"x":[1,{"y":[]}]}`, `{"x":[1,{"y":[null]}]}`, "/x/1/y/0", "", "null"},
		{`{"a/b~":{"":1}}`, `{"a/b~":{"":2}}`, "/a~1b~0/", "1", "2"},
		{`{"x":{"_rev":1}}`, `{"x":{"_rev":2}}`, "/x/_rev", "1", "2"},
		{`{"x":1,"x":2}`, `{"x":1,"x":3}`, "/x", "2", "3"},
		{`{"x":[]}`, `{"x":{}}`, "/x", "[]", "{}"},
		{`{"\u0078":"\ud800"}`, `{"x":"\udc00"}`, "/x", `"\ud800"`, `"\udc00"`},
	} {
		at, differ, err := locate([]byte(test.a), []byte(test.b))
		require.NoError(t, err)
		require.Equal(t, test.pointer != "", differ, test.a)
		require.Equal(t, test.pointer, at.pointer)
		require.Equal(t, test.atA, string(at.a))
		require.Equal(t, test.atB, string(at.b))
	}
}

func TestADeepDifferenceIsFollowedSoFarOnly(t *testing.T) {
	deep := func(leaf string) []byte {
		return fmt.Appendf(nil, `{"x":%s%s%s}`, strings.Repeat("[", 1000), leaf, strings.Repeat("]", 1000))
	}
	at, differ, err := locate(deep("1"), deep("2"))
	require.NoError(t, err)
	require.True(t, differ)
	require.Equal(t, maxDepth, strings.Count(at.pointer, "/0"))
}

// hasDuplicates reports whether an object has a name twice.
func hasDuplicates(value []byte) bool {
	_, err := jsontext.NewDecoder(bytes.NewReader(value)).ReadValue()
	return errors.Is(err, jsontext.ErrDuplicateName)
}

func FuzzCanonicalForm(f *testing.F) {
	for _, seed := range []string{
		`{"a":1.0,"b":{"d":"\ud83d\ude00","c":[1e400,-0]},"a":null}`, "{\"\xff\":\"\\ud800\"}", `[1,`, `{"a":1}x`, `"\u00"`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		before := bytes.Clone(value)
		var c canonicalizer
		out, err := c.append(nil, value)
		require.Equal(t, before, value)
		if err != nil || !json.Valid(value) || bytes.Contains(value, []byte(`\u`)) || !bytes.Equal(bytes.ToValidUTF8(value, nil), value) {
			return
		}
		// What a library reads and writes again is the same, but for what it drops.
		var decoded any
		dec := json.NewDecoder(bytes.NewReader(value))
		dec.UseNumber()
		require.NoError(t, dec.Decode(&decoded))
		if hasDuplicates(value) {
			return
		}
		again, err := json.Marshal(decoded)
		require.NoError(t, err)
		require.Equal(t, string(out), form(t, string(again)))
	})
}
