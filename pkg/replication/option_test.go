package replication

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// expect checks that a field is refused with this reason.
func expect(t *testing.T, fields, field, reason string) {
	t.Helper()
	_, err := spec(t, fields)
	var f *FieldError
	if !asFieldError(err, &f) || f.Field != field || f.Reason != reason {
		t.Errorf("%s: %v, want field %s: %s", fields, err, field, reason)
	}
}

// CouchDB takes 0 and negative numbers, and answers the others with "badarg" or
// "function_clause".
func TestIntegerOptionsAreIntegersThatCanWork(t *testing.T) {
	lowest := map[string]int{
		"worker_processes": 1, "worker_batch_size": 1, "http_connections": 1,
		"connection_timeout": 1, "checkpoint_interval": 1, "retries_per_request": 0,
	}
	for option, low := range lowest {
		reason := fmt.Sprintf("parameter `%s` must be an integer of %d or more", option, low)
		for _, v := range []string{
			fmt.Sprint(low - 1), fmt.Sprintf(`"%d"`, low-1), "-2147483648", "1.5", "1e3", "null", "true", "[4]", "{}", `""`, `"a few"`, `"4 "`, `"1e3"`,
			"99999999999999999999",
		} {
			expect(t, fmt.Sprintf(`%q:%s`, option, v), option, reason)
		}
		expect(t, fmt.Sprintf(`%q:2147483648`, option), option, fmt.Sprintf("parameter `%s` must be at most 2147483647", option))
		for _, v := range []string{fmt.Sprint(low), fmt.Sprintf(`"%d"`, low+3), "2147483647"} {
			if _, err := spec(t, fmt.Sprintf(`%q:%s`, option, v)); err != nil {
				t.Errorf("%s: %s: %v", option, v, err)
			}
		}
	}
}

// CouchDB takes anything for use_checkpoints, and only false for false.
func TestBooleanOptionsAreBooleans(t *testing.T) {
	for _, option := range []string{
		"cancel", "continuous", "create_target", "winning_revs_only", "use_bulk_get", "use_checkpoints", "paused", "skip_deletes",
	} {
		for _, v := range []string{"null", "0", "1", `"true"`, `"false"`, "[]", "{}"} {
			expect(t, fmt.Sprintf(`%q:%s`, option, v), option, fmt.Sprintf("parameter `%s` must be a boolean", option))
		}
		for _, v := range []string{"true", "false"} {
			if _, err := spec(t, fmt.Sprintf(`%q:%s`, option, v)); err != nil {
				t.Errorf("%s: %s: %v", option, v, err)
			}
		}
	}
}

func TestObjectOptionsAreObjects(t *testing.T) {
	for option, what := range map[string]string{
		"create_target_params": "a JSON object", "query_params": "an object", "selector": "a JSON object", "user_ctx": "a JSON object",
	} {
		for _, v := range []string{"null", "1", "true", `"{}"`, "[]"} {
			expect(t, fmt.Sprintf(`%q:%s`, option, v), option, fmt.Sprintf("parameter `%s` must be %s", option, what))
		}
		if _, err := spec(t, fmt.Sprintf(`%q:{}`, option)); err != nil {
			t.Errorf("%s: %v", option, err)
		}
	}
}

func TestStringOptionsAreStrings(t *testing.T) {
	for _, option := range []string{"_id", "_local_id", "replication_id", "id", "filter", "socket_options", "ibrowse_options"} {
		for _, v := range []string{"null", "1", "true", "[]", "{}"} {
			expect(t, fmt.Sprintf(`%q:%s`, option, v), option, fmt.Sprintf("parameter `%s` must be a string", option))
		}
	}
}

func TestDocIDsAreStringsDecodedSortedAndUnique(t *testing.T) {
	for _, v := range []string{"1", "true", `"a"`, "{}"} {
		expect(t, `"doc_ids":`+v, "doc_ids", "parameter `doc_ids` must be an array")
	}
	for _, v := range []string{"[1]", `["a",null]`, `[["a"]]`, "[{}]"} {
		expect(t, `"doc_ids":`+v, "doc_ids", "parameter `doc_ids` must be an array of strings")
	}
	for given, want := range map[string][]string{
		`[]`:                      {},
		`["b","a","b"]`:           {"a", "b"},
		`["_design%2Ffoo"]`:       {"_design/foo"},
		`["_design/foo"]`:         {"_design/foo"},
		`["a+b","a%20b","a b"]`:   {"a b"},
		`["100%","%4","%zz"]`:     {"%4", "%zz", "100%"},
		`["%C3%A9","\u00e9"]`:     {"\u00e9"},
		`["%2B","+","\u002b%41"]`: {" ", " A", "+"},
	} {
		s, err := spec(t, `"doc_ids":`+given)
		if err != nil || s.DocIDs == nil || !slices.Equal(s.DocIDs, want) {
			t.Errorf("%s: %q, %v", given, s.DocIDs, err)
		}
	}
	if s, err := spec(t, `"doc_ids":null`); err != nil || s.DocIDs != nil {
		t.Errorf("null: %q, %v", s.DocIDs, err)
	}
}

func TestFilterNamesADesignDocumentAndAFunctionOrIsBuiltIn(t *testing.T) {
	for _, name := range []string{"", "noslash", "a/b\n", "\n/"} {
		expect(t, fmt.Sprintf(`"filter":%q`, name), "filter", "Invalid filter. Must match `ddocname/filtername`.")
	}
	for _, fields := range []string{
		`"filter":"a/b"`, `"filter":"a/b/c"`, `"filter":"_design"`, `"filter":"_doc_ids"`, `"filter":"_view","query_params":{"view":"a/b"}`,
	} {
		if _, err := spec(t, fields); err != nil {
			t.Errorf("%s: %v", fields, err)
		}
	}
	for _, params := range []string{`{}`, `{"view":1}`, `{"view":null}`, `{"view":"a"}`, `{"view":"a/b/c"}`, `{"View":"a/b"}`} {
		expect(t, `"filter":"_view","query_params":`+params, "query_params", "Invalid `view` parameter.")
	}
}

// CouchDB takes any JSON, and asks the source for changes since {}.
func TestSinceSeqIsWhatAServerMayHaveGivenOut(t *testing.T) {
	for _, v := range []string{"{}", "true", "-1", "1.5", "1e3", `""`, "[]"} {
		expect(t, `"since_seq":`+v, "since_seq", "parameter `since_seq` must be a sequence: a string, an integer or an array")
	}
	for _, v := range []string{"0", "10", "9007199254740993", `"10-abc"`, `"now"`, `[3,"x"]`} {
		if s, err := spec(t, `"since_seq":`+v); err != nil || string(s.SinceSeq) != v {
			t.Errorf("%s: %s, %v", v, s.SinceSeq, err)
		}
	}
	if s, err := spec(t, `"since_seq":null`); err != nil || s.SinceSeq != nil {
		t.Errorf("null: %s, %v", s.SinceSeq, err)
	}
}

func TestMillisecondsAreDurations(t *testing.T) {
	s, err := spec(t, `"checkpoint_interval":1500,"connection_timeout":"2147483647"`)
	if err != nil || s.CheckpointInterval != 1500*time.Millisecond || s.ConnectionTimeout != 2147483647*time.Millisecond {
		t.Errorf("%+v, %v", s.Tuning, err)
	}
}

// What CouchDB's documents carry beside options is no obstacle (t_doc_fields_are_ignored).
func TestFieldsThatAreNoOptionsAreIgnored(t *testing.T) {
	s, err := spec(t, `"_rev":"1-a","_replication_state":1,"_replication_id":null,"replication_id":"x","id":"y","junk":{"a":[]},"Worker_processes":0`)
	if err != nil || len(s.Ignored) != 0 || s.Tuning != DefaultTuning() {
		t.Errorf("%+v, %v", s, err)
	}
}

// Of members of the same name the last counts, as in CouchDB 3.5 (jiffy's dedupe_keys), whatever
// stands in the others.
func TestLastOfRepeatedFieldsCounts(t *testing.T) {
	s, err := spec(t, `"worker_processes":"none","worker_processes":2`)
	if err != nil || s.WorkerProcesses != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

// What an installation has by default holds where a document says nothing, and only there.
func TestDocumentCountsMoreThanTheInstallation(t *testing.T) {
	p := Parser{Defaults: DefaultTuning()}
	p.Defaults.UseBulkGet, p.Defaults.WorkerProcesses = false, 2
	for fields, want := range map[string]bool{"": false, `,"use_bulk_get":true`: true, `,"use_bulk_get":false`: false} {
		s, err := p.Parse([]byte(`{"source":"http://s/a","target":"http://t/b"` + fields + `}`))
		if err != nil || s.UseBulkGet != want || s.WorkerProcesses != 2 {
			t.Errorf("%s: %+v, %v", fields, s.Tuning, err)
		}
	}
}
