package collation

import (
	"cmp"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/mango/mangotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Examples of ICU 72's root collation, in order; those of one row are equal.
func TestOrder(t *testing.T) {
	rows := [][]string{
		{"", "\u0000", "\u0001", "\u00ad"}, {"\t"}, {"\n"}, {" "}, {"_"}, {"-"}, {","}, {"a b"}, {"ab"}, {"aB"}, {"Ab"}, {"áb", "a\u0301b"},
		{"æ"}, {"b", "b\u200d"}, {"K", "\u212a"}, {"l"}, {"l·", "l\u0387"}, {"ll"}, {"ss"}, {"ß"}, {"z"}, {"α"}, {"И"}, {"й", "и\u0306"}, {"א"}, {"ا"}, {"क"}, {"ก"}, {"เก"}, {"ข"},
		{"가", "\u1100\u1161"}, {"각"}, {"か"}, {"ガ"}, {"一"}, {"丁"}, {"\U00020000"}, {"\u3400"}, {"乙"}, {"\u0378"}, {"\uffff"},
	}
	for i, row := range rows {
		for j, other := range rows {
			for _, a := range row {
				for _, b := range other {
					if got := Compare(a, b); got != cmp.Compare(i, j) {
						t.Errorf("Compare(%+q, %+q) = %d, want %d", a, b, got, cmp.Compare(i, j))
					}
				}
			}
		}
	}
}

func TestASCIIIsAsInTheTable(t *testing.T) {
	for _, a := range randomASCII(2000) {
		for _, b := range []string{"", "a", "aB", "Ab", "z_", a + "a", a + "-"} {
			quick, ok := compareASCII(a, b)
			if !ok {
				t.Fatalf("%q and %q are not compared as ASCII", a, b)
			}
			x, y := root().elements(nil, a), root().elements(nil, b)
			want := 0
			for level := range levels {
				want = cmp.Or(want, compareLevel(x, y, level))
			}
			if quick != want {
				t.Errorf("%q and %q: %d, the table says %d", a, b, quick, want)
			}
		}
	}
}

func randomASCII(n int) []string {
	all := make([]string, n)
	for i := range all {
		for _, c := range []int{i % 95, i / 7 % 95, i / 13 % 95} {
			all[i] += string(rune(' ' + c))
		}
	}
	return all
}

// Compare is an order, and keys are equal where it finds strings equal.
func TestOrderIsConsistent(t *testing.T) {
	all := mangotest.Strings(1, 3000)
	slices.SortStableFunc(all, Compare)
	for i := range all {
		for _, j := range []int{i + 1, i + 7, i + 300} {
			if j >= len(all) {
				continue
			}
			c := Compare(all[i], all[j])
			if c > 0 || c != -Compare(all[j], all[i]) {
				t.Errorf("%+q and %+q: %d and %d", all[i], all[j], c, Compare(all[j], all[i]))
			}
			a, b := string(AppendKey(nil, all[i])), string(AppendKey(nil, all[j]))
			if (a == b) != (c == 0) {
				t.Errorf("%+q and %+q: %d, keys %q and %q", all[i], all[j], c, a, b)
			}
		}
	}
}

func TestKeyOfASCIIIsTheString(t *testing.T) {
	for s, want := range map[string]string{"": "s", "Joe-1": "sJoe-1", "\u212a": "sK", "a\u0000b": "sab", "\u200d": "s", "\u037e": "s;"} {
		if got := string(AppendKey(nil, s)); got != want {
			t.Errorf("key of %q is %q, want %q", s, got, want)
		}
	}
}

func TestDamagedTableIsNoticed(t *testing.T) {
	if _, err := unpack(packed[:len(packed)/2]); err == nil {
		t.Error("half a table is taken")
	}
}

func FuzzCompare(f *testing.F) {
	for _, s := range mangotest.Strings(2, 20) {
		f.Add(s, s+"a")
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		c := Compare(a, b)
		if c != -Compare(b, a) {
			t.Errorf("Compare(%+q, %+q) is %d, and the other way round %d", a, b, c, Compare(b, a))
		}
		if (c == 0) != (string(AppendKey(nil, a)) == string(AppendKey(nil, b))) {
			t.Errorf("%+q and %+q: %d, but their keys say otherwise", a, b, c)
		}
	})
}

func BenchmarkCompare(b *testing.B) {
	for name, pair := range map[string][2]string{
		"ascii": {"user-000017", "user-000018"}, "latin": {"Müller-Lüdenscheidt", "Müller-Lüdenscheid"}, "han": {"東京都千代田区", "東京都千代田町"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Compare(pair[0], pair[1])
			}
		})
	}
}

func BenchmarkUnpack(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := unpack(packed); err != nil {
			b.Fatal(err)
		}
	}
}
