package mango

import (
	"errors"
	"testing"
)

// matches evaluates a selector on a document.
func matches(t *testing.T, selector, doc string) (bool, error) {
	t.Helper()
	s, err := Parse([]byte(selector))
	if err != nil {
		t.Fatalf("Parse(%s): %v", selector, err)
	}
	d, err := Decode([]byte(doc))
	if err != nil {
		t.Fatalf("Decode(%s): %v", doc, err)
	}
	return s.Match(d)
}

// The cases of CouchDB's own tests of selectors (mango_selector.erl, and
// 03-operator-test.py, 21-empty-selector-tests.py and others that concern matching),
// and what its source leads one to try. All were put to CouchDB 3.5.0.
func TestOperators(t *testing.T) {
	const user = `{"_id":"foo","_rev":"1-bar","user_id":11,"name":{"first":"Ann","last":"Lee"},` +
		`"favorites":["Ruby","C","Python","C++"],"manager":true,"twitter":null,"age":33,"bang":[{"foo":1},{"foo":7,"bar":"x"}],"no_val":[]}`
	for _, c := range []struct {
		selector string
		want     bool
	}{
		{`{}`, true},
		{`{"user_id":11}`, true},
		{`{"user_id":11.0}`, true},
		{`{"user_id":1234}`, false},
		{`{"user_id":"11"}`, false},
		{`{"_id":"foo"}`, true},
		{`{"_id":"foo","_rev":"1-bar"}`, true},
		{`{"_id":"foo","_rev":"quux"}`, false},

		{`{"favorites":{"$all":["Ruby","C"]}}`, true},
		{`{"favorites":{"$all":["Ruby","Perl"]}}`, false},
		{`{"favorites":{"$all":[["Ruby","C","Python","C++"]]}}`, true},
		{`{"favorites":{"$all":[]}}`, false},
		{`{"user_id":{"$all":[11]}}`, false},
		{`{"favorites":{"$elemMatch":{"$eq":"C"}}}`, true},
		{`{"bang":{"$elemMatch":{"foo":{"$gte":5},"bar":"x"}}}`, true},
		{`{"bang":{"$elemMatch":{"foo":1,"bar":"x"}}}`, false},
		{`{"age":{"$elemMatch":{"$eq":33}}}`, false},
		{`{"bang":{"$allMatch":{"foo":{"$gt":0}}}}`, true},
		{`{"bang":{"$allMatch":{"bar":"x"}}}`, false},
		{`{"no_val":{"$allMatch":{"$eq":1}}}`, false},
		{`{"name":{"$keyMapMatch":{"$eq":"first"}}}`, true},
		{`{"name":{"$keyMapMatch":{"$eq":"First"}}}`, false},
		{`{"favorites":{"$keyMapMatch":{"$eq":"C"}}}`, false},

		{`{"age":{"$in":[1,33.0]}}`, true},
		{`{"favorites":{"$in":["C"]}}`, true},
		{`{"favorites":{"$in":[["Ruby","C","Python","C++"]]}}`, false},
		{`{"age":{"$in":[]}}`, false},
		{`{"favorites":{"$nin":["C"]}}`, false},
		{`{"favorites":{"$nin":["Perl"]}}`, true},
		{`{"age":{"$nin":[]}}`, true},
		{`{"gone":{"$nin":[1]}}`, false},
		{`{"gone":{"$ne":1}}`, false},
		{`{"age":{"$ne":1}}`, true},

		{`{"twitter":null}`, true},
		{`{"gone":null}`, false},
		{`{"gone":{"$exists":false}}`, true},
		{`{"twitter":{"$exists":false}}`, false},
		{`{"twitter":{"$exists":true}}`, true},
		{`{"name.middle":{"$exists":false}}`, true},
		{`{"age.x":{"$exists":false}}`, false},
		{`{"favorites.9":{"$exists":false}}`, false},
		{`{"$not":{"gone":{"$exists":true}}}`, true},
		{`{"$not":{"age.x":{"$gt":1}}}`, false},

		{`{"favorites.1":"C"}`, true},
		{`{"favorites.+1":"C"}`, true},
		{`{"favorites.-1":"C++"}`, false},
		{`{"name":{"first":"Ann"}}`, true},
		{`{"name.first":"Ann"}`, true},
		{`{"name\\.first":"Ann"}`, false},
		{`{"name":{"first":"Ann","last":{"$gt":"Le"}}}`, true},
		{`{"name":{"$eq":{"first":"Ann","last":"Lee"}}}`, true},
		{`{"name":{"$eq":{"last":"Lee","first":"Ann"}}}`, false},

		{`{"manager":{"$lt":0}}`, true},
		{`{"twitter":{"$lt":false}}`, true},
		{`{"age":{"$lt":""}}`, true},
		{`{"age":{"$gt":null,"$lt":[]}}`, true},
		{`{"favorites":{"$lt":{}}}`, true},
		{`{"name.first":{"$gt":"ann","$lt":"B"}}`, true},
		{`{"_id":{"$gt":"Z"}}`, true},
		{`{"_id":{"$gt":"Zz","$lt":"g"}}`, true},

		{`{"age":{"$mod":[10,3]}}`, true},
		{`{"age":{"$mod":[-10,3]}}`, true},
		{`{"age":{"$mod":[100000000000000000000,33]}}`, true},
		{`{"twitter":{"$mod":[10,0]}}`, false},
		{`{"favorites":{"$size":4}}`, true},
		{`{"no_val":{"$size":0}}`, true},
		{`{"name":{"$size":2}}`, false},
		{`{"age":{"$type":"number"}}`, true},
		{`{"name":{"$type":"object"}}`, true},
		{`{"twitter":{"$type":"null"}}`, true},
		{`{"gone":{"$type":"null"}}`, false},
		{`{"name.first":{"$regex":"^A"}}`, true},
		{`{"age":{"$regex":"3"}}`, false},
		{`{"_id":{"$beginsWith":"f"}}`, true},
		{`{"user_id":{"$beginsWith":"f"}}`, false},
		{`{"name.first":{"$beginsWith":""}}`, true},

		{`{"$and":[]}`, true},
		{`{"$or":[]}`, true},
		{`{"$nor":[]}`, true},
		{`{"$or":[{"age":1},{"age":33}]}`, true},
		{`{"$nor":[{"age":1},{"user_id":2}]}`, true},
		{`{"$nor":[{"age":33},{"user_id":2}]}`, false},
		{`{"$not":{"age":33}}`, false},
		{`{"age":{"$not":{"$eq":1}}}`, true},
		{`{"age":{"$and":[{"$gt":1},{"$lt":40}]}}`, true},
		{`{"$and":[{}]}`, false},
		{`{"$gt":1,"$lt":[]}`, false},
		{`{"$gt":[],"$ne":{}}`, true},
		{`{"$text":"anything"}`, true},
		{`{"age":33,"age":1}`, false},
		{`{"age":1,"age":33}`, true},

		// Inside of arrays negations stay where they are, and $nor has no meaning there.
		{`{"bang":{"$elemMatch":{"$not":{"foo":1}}}}`, true},
		{`{"bang":{"$elemMatch":{"$nor":[{"foo":3}]}}}`, false},
		{`{"$not":{"bang":{"$elemMatch":{"$nor":[{"foo":3}]}}}}`, true},
		{`{"bang":{"$elemMatch":{"foo":{"$mod":[0,1]}}}}`, false},
		{`{"$not":{"bang":{"$allMatch":{"a..b":1}}}}`, true},
	} {
		if got, err := matches(t, c.selector, user); err != nil || got != c.want {
			t.Errorf("%s: %v, %v, want %v", c.selector, got, err, c.want)
		}
	}
}

func TestValuesThatAreEqualToCouchDB(t *testing.T) {
	for _, c := range []struct {
		selector, doc string
		want          bool
	}{
		{`{"a":1}`, `{"a":1.0}`, true},
		{`{"a":0}`, `{"a":-0.0}`, true},
		{`{"a":1000}`, `{"a":1e3}`, true},
		{`{"a":9007199254740993}`, `{"a":9007199254740992.0}`, false},
		{`{"a":9007199254740992}`, `{"a":9007199254740992.0}`, true},
		{`{"a":100000000000000000000}`, `{"a":1e20}`, true},
		{`{"a":100000000000000000001}`, `{"a":1e20}`, false},
		{`{"a":{"$gt":1e20}}`, `{"a":100000000000000000001}`, true},
		{`{"a":{"$lt":-1e20}}`, `{"a":-100000000000000000001}`, true},
		{`{"a":{"$gt":9223372036854775807}}`, `{"a":9223372036854775808}`, true},
		{`{"a":{"$all":[1]}}`, `{"a":[1.0]}`, false},
		{`{"a":{"$all":[[1]]}}`, `{"a":[1.0]}`, true},
		{`{"a":{"$all":[0.0]}}`, `{"a":[-0.0]}`, true},

		{`{"a":"é"}`, `{"a":"e\u0301"}`, true},
		{`{"a":"K"}`, `{"a":"\u212a"}`, true},
		{`{"a":"a"}`, `{"a":"a\u0000"}`, true},
		{`{"a":"a"}`, `{"a":"A"}`, false},
		{`{"a":{"$lt":"A"}}`, `{"a":"a"}`, true},
		{`{"a":{"$gt":"A"}}`, `{"a":"b"}`, true},
		{`{"a":{"$lt":"0"}}`, `{"a":"~"}`, true},
		{`{"a":{"$all":["é"]}}`, `{"a":["e\u0301"]}`, false},
		{`{"_id":"é"}`, `{"_id":"e\u0301"}`, false},
		{`{"_id":{"$gt":"A"}}`, `{"_id":"a"}`, true},
		{`{"a":{"$elemMatch":{"_id":{"$lt":"a"}}}}`, `{"a":[{"_id":"B"}]}`, true},

		{`{"a":{"$beginsWith":"e"}}`, `{"a":"e\u0301x"}`, false},
		{`{"a":{"$beginsWith":"e\u0301"}}`, `{"a":"e\u0301x"}`, true},
		{`{"a":{"$beginsWith":"\r"}}`, `{"a":"\r\n"}`, false},
		{`{"a":{"$regex":"^.$"}}`, `{"a":"é"}`, false},
		{`{"a":{"$regex":"^..$"}}`, `{"a":"é"}`, true},
	} {
		if got, err := matches(t, c.selector, c.doc); err != nil || got != c.want {
			t.Errorf("%s on %s: %v, %v, want %v", c.selector, c.doc, got, err, c.want)
		}
	}
}

func TestWhatCannotBeEvaluatedIsAnError(t *testing.T) {
	for _, c := range []struct{ selector, want string }{
		{`{"a..b":1}`, "Invalid field name: a..b"},
		{`{"b.":1}`, "Invalid field name: b."},
		{`{"a":{"$mod":[0,1]}}`, "$mod divides by zero"},
		{`{"$not":{"a":{"$mod":[0,1]}}}`, "$mod divides by zero"},
		{`{"$or":[{"a":2},{"a..b":1}]}`, "Invalid field name: a..b"},
	} {
		_, err := matches(t, c.selector, `{"a":1}`)
		var evaluation *EvaluationError
		if !errors.As(err, &evaluation) || evaluation.Reason != c.want {
			t.Errorf("%s: %v, want %s", c.selector, err, c.want)
		}
	}
	if got, err := matches(t, `{"$or":[{"a":1},{"a..b":1}]}`, `{"a":1}`); !got || err != nil {
		t.Errorf("what comes behind a match is looked at: %v, %v", got, err)
	}
}
