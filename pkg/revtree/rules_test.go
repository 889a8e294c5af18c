package revtree

import (
	"errors"
	"slices"
	"testing"
)

func TestWinnerByCouchDBsRule(t *testing.T) {
	hexA, hexB := "967a00dff5e02add41819138abb3284d", "0000000000000000000000000000000f"
	for name, test := range map[string]struct {
		writes []write
		winner string
	}{
		"higher generation":                {[]write{live(2, "a", "r"), live(1, "z")}, "2-a"},
		"greater hash":                     {[]write{live(1, "a"), live(1, "b")}, "1-b"},
		"not deleted beats generation":     {[]write{dead(5, "a"), live(1, "b")}, "1-b"},
		"all deleted: generation":          {[]write{dead(2, "a"), dead(3, "b")}, "3-b"},
		"hex hashes by their digits":       {[]write{live(1, hexA), live(1, hexB)}, "1-" + hexA},
		"hex hash is bytes beside a word":  {[]write{live(1, hexA), live(1, "aa")}, "1-" + hexA},
		"low hex hash loses against words": {[]write{live(1, hexB), live(1, "aa")}, "1-aa"},
		"child beats parent":               {[]write{live(1, "z"), live(2, "a", "z")}, "2-a"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := grow(test.writes...).Winner().Rev().String(); got != test.winner {
				t.Errorf("winner %s, want %s", got, test.winner)
			}
		})
	}
	if w := (Tree[string]{}).Winner(); w != nil {
		t.Errorf("an empty tree has the winner %v", w.Rev())
	}
}

func TestMissingWithPossibleAncestors(t *testing.T) {
	tree := grow(live(3, "c", "b", "a"), live(1, "x"))
	for name, test := range map[string]struct {
		ask, missing, ancestors []string
	}{
		"known leaf":                  {[]string{"3-c"}, nil, nil},
		"known by name only":          {[]string{"2-b", "1-a"}, nil, nil},
		"newer than all leaves":       {[]string{"4-d"}, []string{"4-d"}, []string{"3-c", "1-x"}},
		"between":                     {[]string{"2-z"}, []string{"2-z"}, []string{"1-x"}},
		"older than all":              {[]string{"1-z"}, []string{"1-z"}, nil},
		"sorted, without repetitions": {[]string{"9-z", "2-z", "9-z"}, []string{"2-z", "9-z"}, []string{"3-c", "1-x"}},
	} {
		t.Run(name, func(t *testing.T) {
			missing, ancestors := tree.Missing(parseAll(t, test.ask))
			if !slices.Equal(missing, parseAll(t, test.missing)) {
				t.Errorf("missing %v, want %v", missing, test.missing)
			}
			if !slices.Equal(ancestors, parseAll(t, test.ancestors)) {
				t.Errorf("possible ancestors %v, want %v", ancestors, test.ancestors)
			}
		})
	}
}

func TestLeavesFromAnAncestor(t *testing.T) {
	tree := grow(live(3, "c", "b", "a"), live(3, "d", "b", "a"), live(2, "e", "a"), live(1, "x"))
	for rev, want := range map[string][]string{
		"1-a": {"3-d", "3-c", "2-e"},
		"2-b": {"3-d", "3-c"},
		"3-c": {"3-c"},
		"1-x": {"1-x"},
		"9-q": nil,
	} {
		if got := revs(tree.LeavesFrom(parseAll(t, []string{rev})[0])); !slices.Equal(got, parseAll(t, want)) {
			t.Errorf("leaves from %s: %v, want %v", rev, got, want)
		}
	}
}

func TestRemovedLeafTakesItsOwnBranchOnly(t *testing.T) {
	tree := grow(live(4, "d", "c", "b", "a"), live(3, "e", "b", "a"))
	rest, removed := tree.Remove(parseAll(t, []string{"4-d", "2-b", "7-z"}))
	if len(removed) != 1 || removed[0].String() != "4-d" {
		t.Errorf("removed %v, want 4-d alone", removed)
	}
	if got := rest.Path(rest.Winner()).IDs; !slices.Equal(got, []string{"e", "b", "a"}) || rest.Len() != 3 {
		t.Errorf("left: %v and %d nodes", got, rest.Len())
	}
}

func TestStemmedHistoryIsMendedByALongerOne(t *testing.T) {
	tree := grow(live(3, "c", "b"), live(4, "d", "c", "b", "a"))
	if got := tree.Path(tree.Winner()).IDs; !slices.Equal(got, []string{"d", "c", "b", "a"}) {
		t.Errorf("path %v", got)
	}
}

func TestParse(t *testing.T) {
	hex := "967a00dff5e02add41819138abb3284d"
	for text, want := range map[string]string{
		"1-abc": "1-abc", "0-1": "0-1", "12-" + hex: "12-" + hex, "3-a-b": "3-a-b", "1-": "1-",
		"2-967A00DFF5E02ADD41819138ABB3284D": "2-" + hex,
	} {
		rev, err := Parse(text)
		if err != nil || rev.String() != want || string(rev.Append(nil)) != want {
			t.Errorf("Parse(%q) = %v, %v, want %s", text, rev, err, want)
		}
	}
	for _, text := range []string{"", "1", "abc", "-1-a", "x-a", "1-967a00dff5e02add41819138abb3284z"} {
		_, err := Parse(text)
		var bad *FormatError
		if !errors.As(err, &bad) {
			t.Errorf("Parse(%q): error %v, want a FormatError", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("1-a")
	f.Add("2-967A00DFF5E02ADD41819138ABB3284D")
	f.Add("99999999999999999999-a")
	f.Fuzz(func(t *testing.T, text string) {
		rev, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(rev.String())
		if err != nil || again != rev {
			t.Errorf("%q parses to %v, which parses to %v, %v", text, rev, again, err)
		}
	})
}

func parseAll(t *testing.T, texts []string) []Rev {
	t.Helper()
	var out []Rev
	for _, text := range texts {
		rev, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rev)
	}
	return out
}
