package ejson

import (
	"encoding/hex"
	"errors"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Bytes from term_to_binary(T, [{minor_version, 1}]) of Erlang/OTP 25, without
// the version byte.
func TestJSONBecomesErlangsBytes(t *testing.T) {
	for json, want := range map[string]string{
		`null`:                     "6400046e756c6c",
		`true`:                     "64000474727565",
		`false`:                    "64000566616c7365",
		`0`:                        "6100",
		`-0`:                       "6100",
		`255`:                      "61ff",
		`256`:                      "6200000100",
		`-5`:                       "62fffffffb",
		`2147483647`:               "627fffffff",
		`2147483648`:               "6e040000000080",
		`-2147483648`:              "6280000000",
		`-2147483649`:              "6e040101000080",
		`5000000000`:               "6e050000f2052a01",
		`-99999999999999999999999`: "6e0a01ffff7ff64ae1c7022d15",
		`1.0`:                      "463ff0000000000000",
		`-0.0`:                     "468000000000000000",
		`1e3`:                      "46408f400000000000",
		`1.5e300`:                  "467e41eb2d66005835",
		`1e-400`:                   "460000000000000000",
		`"a"`:                      "6d0000000161",
		`"\u00e9\u0000"`:           "6d00000003c3a900",
		`""`:                       "6d00000000",
		`[]`:                       "6a",
		`[1,2,3]`:                  "6b0003010203",
		`[1,256]`:                  "6c00000002610162000001006a",
		`[1.0]`:                    "6c00000001463ff00000000000006a",
		`{}`:                       "68016a",
		`{"a":[]}`:                 "68016c0000000168026d00000001616a6a",
		`{"b":1, "a":2, "c":3}`:    "68016c0000000368026d0000000162610168026d0000000161610268026d000000016361036a",
	} {
		v, err := Parse([]byte(json))
		if err != nil {
			t.Errorf("Parse(%s): %v", json, err)
			continue
		}
		if got := hex.EncodeToString(Marshal(v)); got != "83"+want {
			t.Errorf("%s becomes %s, want 83%s", json, got, want)
		}
	}
}

func TestTermsThatJSONDoesNotHave(t *testing.T) {
	for _, c := range []struct {
		name string
		term any
		want string
	}{
		{"atom", Atom("undefined"), "640009756e646566696e6564"},
		{"char list", CharList("ab"), "6b00026162"},
		{"empty char list", CharList(""), "6a"},
		{"tuple", Tuple{Atom("a"), 1}, "68026400016161" + "01"},
		{"longest string", CharList(strings.Repeat("a", 65535)), "6bffff" + strings.Repeat("61", 65535)},
		{"longer than a string", CharList(strings.Repeat("a", 65536)), "6c00010000" + strings.Repeat("6161", 65536) + "6a"},
		{"big integer of 256 bytes", new(big.Int).Lsh(big.NewInt(1), 2040), "6f00000100" + "00" + strings.Repeat("00", 255) + "01"},
	} {
		if got := hex.EncodeToString(Marshal(c.term)); got != "83"+c.want {
			t.Errorf("%s becomes %.60s..., want 83%.60s...", c.name, got, c.want)
		}
	}
}

func TestMarshalPanicsOnWhatIsNoTerm(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Marshal(struct{}{})
}

func TestNumberOutOfRangeIsRefused(t *testing.T) {
	var out *RangeError
	if _, err := Parse([]byte(`[1e400]`)); !errors.As(err, &out) || out.Number != "1e400" {
		t.Errorf("Parse = %v, want a RangeError", err)
	}
	if _, err := Parse([]byte("1" + strings.Repeat("0", 400))); err != nil {
		t.Errorf("a long integer is refused: %v", err)
	}
}

func TestWhatIsNoJSONIsRefused(t *testing.T) {
	for _, s := range []string{"", "{", "[1", `{"a"}`, `{"a":}`, "01", `"\ud800"`, "\"\xff\"", "nul"} {
		if v, err := Parse([]byte(s)); err == nil {
			t.Errorf("Parse(%q) = %v", s, v)
		}
	}
	if _, err := Parse([]byte(`1 2`)); !errors.Is(err, ErrTrailing) {
		t.Errorf("Parse(1 2) = %v", err)
	}
}

// {"x":1,"z":5,"x":2} is stored by CouchDB 3.5.0 as {"z":5,"x":2}.
func TestLastOfMembersOfTheSameNameIsKept(t *testing.T) {
	const written = ` {"b" : 1.0, "a":{"x": 2 }, "b":3} `
	got, err := Members([]byte(written))
	if err != nil {
		t.Fatal(err)
	}
	same := func(a, b Member) bool { return a.Name == b.Name && string(a.Value) == string(b.Value) }
	want := []Member{{"a", []byte(`{"x": 2 }`)}, {"b", []byte("3")}}
	if !slices.EqualFunc(got, want, same) {
		t.Errorf("Members = %v, want %v", got, want)
	}
	for json, once := range map[string]string{
		written: `{"a":{"x":2},"b":3}`, `[{"a":{"x":1,"x":2},"a":{"y":1,"z":5,"y":2}}]`: `[{"a":{"z":5,"y":2}}]`,
	} {
		a, err := Parse([]byte(json))
		b, errOnce := Parse([]byte(once))
		if err != nil || errOnce != nil || !reflect.DeepEqual(a, b) {
			t.Errorf("Parse(%s) = %v, %v", json, a, err)
		}
	}
}

func TestMembersOfWhatIsNoObject(t *testing.T) {
	for _, s := range []string{"[]", "1", "null", `"x"`} {
		if _, err := Members([]byte(s)); !errors.Is(err, ErrNotAnObject) {
			t.Errorf("Members(%s) = %v", s, err)
		}
	}
	for _, s := range []string{"", "{", `{"a"}`, `{"a":1,}`, "{]"} {
		if _, err := Members([]byte(s)); err == nil {
			t.Errorf("Members(%s) succeeded", s)
		}
	}
}

// Different values have different terms, as far as CouchDB tells them apart.
func TestIntegersAndFloatsDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		i := Marshal(big.NewInt(n))
		f := Marshal(float64(n))
		if slices.Equal(i, f) {
			t.Fatalf("%d and %d.0 are the same term", n, n)
		}
		if m := rapid.Int64().Draw(t, "m"); m != n && slices.Equal(i, Marshal(big.NewInt(m))) {
			t.Fatalf("%d and %d are the same term", n, m)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a":[1,2.5e3,"x",null,true,{}],"a":-0}`))
	f.Add([]byte(`[`))
	f.Add([]byte(`{}0`))
	f.Fuzz(func(t *testing.T, json []byte) {
		v, err := Parse(json)
		if err == nil {
			Marshal(v)
		}
		if _, isObject := v.(Object); isObject {
			if _, err := Members(json); err != nil {
				t.Errorf("Parse takes %q, Members says %v", json, err)
			}
		}
	})
}
