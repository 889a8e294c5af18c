package compare

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// drawValue draws a value and its text with keys in the order drawn.
func drawValue(t *rapid.T, depth int) string {
	kinds := 4
	if depth > 0 {
		kinds = 6
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false"}).Draw(t, "literal")
	case 1:
		return rapid.StringMatching(`-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,5})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
	case 2, 3:
		return drawString(t)
	case 4:
		items := make([]string, rapid.IntRange(0, 4).Draw(t, "items"))
		for i := range items {
			items[i] = drawValue(t, depth-1)
		}
		return "[" + strings.Join(items, ",") + "]"
	default:
		return "{" + strings.Join(drawMembers(t, depth), ",") + "}"
	}
}

func drawMembers(t *rapid.T, depth int) []string {
	members := make([]string, rapid.IntRange(0, 4).Draw(t, "members"))
	for i := range members {
		members[i] = fmt.Sprintf(`"%d%s:%s`, i, drawString(t)[1:], drawValue(t, depth-1))
	}
	return members
}

func drawString(t *rapid.T) string {
	text := rapid.SampledFrom([]string{"", "a", "é", `\u00e9`, `\"`, `\\`, `\/`, `\n`, `\u0000`, `\ud83d\ude00`, `\ud83d`, "😀", " "})
	return `"` + strings.Join(rapid.SliceOfN(text, 0, 3).Draw(t, "string"), "") + `"`
}

func mustParse(t interface{ Fatalf(string, ...any) }, text string) value {
	v, err := parseValue([]byte(text))
	if err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	return v
}

func TestValueIsTheSameAsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawValue(t, 3)
		a, b := mustParse(t, text), mustParse(t, text)
		if at, x, y, same := compareValues(a, b, Options{}); !same {
			t.Fatalf("%s differs from itself at %s: %s, %s", text, at, x, y)
		}
	})
}

func TestWhatIsTheSameStrictlyIsTheSameLoosely(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := mustParse(t, drawValue(t, 2)), mustParse(t, drawValue(t, 2))
		_, _, _, strict := compareValues(a, b, Options{})
		_, _, _, loose := compareValues(a, b, Options{Numbers: Value, AnyKeyOrder: true})
		if strict && !loose {
			t.Fatalf("%v and %v are the same only strictly", a, b)
		}
	})
}

func TestDifferenceDoesNotDependOnTheSide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := mustParse(t, drawValue(t, 2)), mustParse(t, drawValue(t, 2))
		at, x, y, same := compareValues(a, b, Options{})
		ta, ty, tx, tsame := compareValues(b, a, Options{})
		if at != ta || x != tx || y != ty || same != tsame {
			t.Fatalf("one way %q %s %s %t, the other %q %s %s %t", at, x, y, same, ta, tx, ty, tsame)
		}
	})
}

func TestShuffledKeysAreTheSameInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t, 2)
		a := mustParse(t, "{"+strings.Join(members, ",")+"}")
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(members), func(i, j int) {
			members[i], members[j] = members[j], members[i]
		})
		b := mustParse(t, "{"+strings.Join(members, ",")+"}")
		if at, x, y, same := compareValues(a, b, Options{AnyKeyOrder: true}); !same {
			t.Fatalf("they differ at %s: %s, %s", at, x, y)
		}
	})
}

// FuzzParseValue: what the standard library takes for JSON is read here too, and
// its strings say the same, but for halves of surrogate pairs, which that replaces.
func FuzzParseValue(f *testing.F) {
	for _, seed := range []string{
		`{"a":[1,-0,1e400,"é\u00e9\ud83d\ude00\ud83d\/"],"":{},"a":null}`, `"\u0000"`, `[[[]]]`, `{`, `01`, `"\x"`, "\"\xff\"",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		v, err := parseValue(text)
		if err != nil {
			if json.Valid(text) {
				t.Fatalf("not read: %v", err)
			}
			return
		}
		if at, _, _, same := compareValues(v, v, Options{}); !same {
			t.Errorf("differs from itself at %s", at)
		}
		var s string
		if v.kind == '"' && utf8.ValidString(v.text) && json.Unmarshal(text, &s) == nil && utf8.Valid(text) && s != v.text {
			t.Errorf("%q, the standard library says %q", v.text, s)
		}
	})
}
