package mango

import (
	"errors"
	"testing"

	"millrace/pkg/ejson"
)

// The reasons of CouchDB 3.5.0 for POST _changes?filter=_selector.
func TestSelectorsThatCouchDBRefuses(t *testing.T) {
	for selector, want := range map[string]string{
		`{"a":{"$in":1}}`:          "bad_arg: Bad argument for operator $in: 1",
		`{"a":{"$in":{"é":1e22}}}`: "bad_arg: Bad argument for operator $in: {[{<<195,169>>,1.0e22}]}",
		`{"a":{"$nin":null}}`:      "bad_arg: Bad argument for operator $nin: null",
		`{"a":{"$all":"x"}}`:       "bad_arg: Bad argument for operator $all: <<120>>",
		`{"$and":{}}`:              "bad_arg: Bad argument for operator $and: {[]}",
		`{"$or":1}`:                "bad_arg: Bad argument for operator $or: 1",
		`{"$nor":1}`:               "bad_arg: Bad argument for operator $nor: 1",
		`{"$not":[]}`:              "bad_arg: Bad argument for operator $not: []",
		`{"a":{"$elemMatch":[]}}`:  "bad_arg: Bad argument for operator $elemMatch: []",
		`{"a":{"$allMatch":1}}`:    "bad_arg: Bad argument for operator $allMatch: 1",
		`{"a":{"$keyMapMatch":1}}`: "bad_arg: Bad argument for operator $keyMapMatch: 1",
		`{"a":{"$exists":1}}`:      "bad_arg: Bad argument for operator $exists: 1",
		`{"a":{"$type":1}}`:        "bad_arg: Bad argument for operator $type: 1",
		`{"a":{"$mod":[1.0,2]}}`:   "bad_arg: Bad argument for operator $mod: [1.0,2]",
		`{"a":{"$mod":[1]}}`:       "bad_arg: Bad argument for operator $mod: [1]",
		`{"a":{"$size":-1}}`:       "bad_arg: Bad argument for operator $size: -1",
		`{"a":{"$size":1.0}}`:      "bad_arg: Bad argument for operator $size: 1.0",
		`{"a":{"$regex":"("}}`:     "bad_arg: Bad argument for operator $regex: <<40>>",
		`{"a":{"$regex":1}}`:       "bad_arg: Bad argument for operator $regex: 1",
		`{"a":{"$beginsWith":1}}`:  "invalid_operator: Invalid operator: $beginsWith",
		`{"$text":null}`:           "bad_arg: Bad argument for operator $text: null",
		`{"$not":{"$text":1}}`:     "bad_arg: Bad argument for operator $not: {[{<<36,100,101,102,97,117,108,116>>,{[{<<36,116,101,120,116>>,1}]}}]}",
		`{"a":{"$text":1}}`:        "bad_field: Invalid field normalization on selector: {[{<<36,100,101,102,97,117,108,116>>,{[{<<36,116,101,120,116>>,1}]}}]}",
		`{"$default":1}`:           "bad_field: Invalid field normalization on selector: {[{<<36,100,101,102,97,117,108,116>>,1}]}",
		`{"$where":1}`:             "not_supported: Unsupported operator: $where",
		`{"a":{"$near":1}}`:        "not_supported: Unsupported operator: $near",
		`{"a":{"$nopeé":1}}`:       "invalid_operator: Invalid operator: $nopeé",
		`{"$gt":1}`:                "invalid_selector: One or more conditions is missing a field name.",
		`{"$not":{}}`:              "invalid_selector: One or more conditions is missing a field name.",
	} {
		_, err := Parse([]byte(selector))
		var refused *Error
		if !errors.As(err, &refused) || refused.Error() != want {
			t.Errorf("%s: %v, want %s", selector, err, want)
		}
	}
}

func TestParseRefusesWhatIsNoObject(t *testing.T) {
	for _, s := range []string{`[]`, `1`, `null`, `"a"`} {
		if _, err := Parse([]byte(s)); !errors.Is(err, ErrNotObject) {
			t.Errorf("Parse(%s) = %v", s, err)
		}
	}
	for _, s := range []string{``, `{`, `{} {}`, `{"a":1e400}`, `{"a":"\ud800"}`} {
		if _, err := Parse([]byte(s)); err == nil || errors.Is(err, ErrNotObject) {
			t.Errorf("Parse(%s) = %v", s, err)
		}
	}
}

func TestCanonicalSortsMembers(t *testing.T) {
	s, err := Parse([]byte(`{"z":{"$eq":{"b":1,"a":2}},"a":{"$gt":3},"z":{"$eq":{"b":1,"a":2}}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{[{<<36,97,110,100>>,[{[{<<97>>,{[{<<36,103,116>>,3}]}}]},{[{<<122>>,{[{<<36,101,113>>,{[{<<97>>,2},{<<98>>,1}]}}]}}]}]}]}`
	if got := ejson.Text(s.Canonical()); got != want {
		t.Errorf("Canonical = %s", got)
	}
}
