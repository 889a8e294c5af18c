package replication

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func asFieldError(err error, dst **FieldError) bool { return errors.As(err, dst) }

// spec parses a document with these fields and two endpoints.
func spec(t testing.TB, fields string) (*Spec, error) {
	t.Helper()
	doc := `{"source":"http://s/a"`
	if !strings.Contains(fields, `"targets"`) {
		doc += `,"target":"http://t/b"`
	}
	if fields != "" {
		doc += "," + fields
	}
	return ParseSpec([]byte(doc + "}"))
}

func TestDefaultsAreThoseOfCouchDB(t *testing.T) {
	s, err := spec(t, "")
	if err != nil {
		t.Fatal(err)
	}
	want := Tuning{
		UseCheckpoints: true, CheckpointInterval: 30 * time.Second, UseBulkGet: true, WorkerProcesses: 4,
		WorkerBatchSize: 500, HTTPConnections: 20, ConnectionTimeout: 30 * time.Second, RetriesPerRequest: 5,
	}
	if s.Tuning != want {
		t.Errorf("tuning %+v", s.Tuning)
	}
	if s.Source.URL != "http://s/a/" || len(s.Targets) != 1 || s.Targets[0].URL != "http://t/b/" {
		t.Errorf("endpoints %v, %v", s.Source, s.Targets)
	}
	if s.Continuous || s.CreateTarget || s.WinningRevsOnly || s.DocIDs != nil || s.Filter != "" || s.Selector != nil ||
		s.SinceSeq != nil || s.Paused || s.SkipDeletes || s.Cancel || s.Ignored != nil {
		t.Errorf("spec %+v", s)
	}
}

func TestEveryFieldIsRead(t *testing.T) {
	s, err := spec(t, `"_id":"doc","_rev":"1-x","continuous":true,"create_target":true,
		"create_target_params":{"q":8,"partitioned":true,"n":"2"},"winning_revs_only":true,
		"doc_ids":["b","a%2Fc","b"],"since_seq":"9-x","use_checkpoints":false,"checkpoint_interval":"5000",
		"use_bulk_get":false,"worker_processes":1,"worker_batch_size":"20","http_connections":3,
		"connection_timeout":1,"retries_per_request":0,"owner":"joe","user_ctx":{"name":"joe","roles":["r"],"x":1},
		"socket_options":"[{nodelay,true}]","ibrowse_options":"[]","source_proxy":"socks5://u:p@x:1","target_proxy":"",
		"source_site":"eu","target_site":"us","paused":true,"skip_deletes":true,
		"_replication_state":"completed","replication_id":"abc+continuous","unknown":{"any":"thing"}`)
	if err != nil {
		t.Fatal(err)
	}
	wantTuning := Tuning{
		CheckpointInterval: 5 * time.Second, WorkerProcesses: 1, WorkerBatchSize: 20,
		HTTPConnections: 3, ConnectionTimeout: time.Millisecond,
	}
	for name, ok := range map[string]bool{
		"_id":                  s.DocID == "doc",
		"continuous":           s.Continuous,
		"create_target":        s.CreateTarget,
		"create_target_params": s.CreateTargetParams.Encode() == "n=2&partitioned=true&q=8",
		"winning_revs_only":    s.WinningRevsOnly,
		"doc_ids":              slices.Equal(s.DocIDs, []string{"a/c", "b"}),
		"since_seq":            string(s.SinceSeq) == `"9-x"`,
		"tuning":               s.Tuning == wantTuning,
		"owner":                s.Owner == "joe",
		"user_ctx":             reflect.DeepEqual(s.UserCtx, &UserCtx{Name: "joe", Roles: []string{"r"}}),
		"ignored":              slices.Equal(s.Ignored, []string{"socket_options", "ibrowse_options"}),
		"source_proxy":         s.Source.Proxy == "socks5://u:p@x:1" && s.Targets[0].Proxy == "",
		"sites":                s.Source.Site == "eu" && s.Targets[0].Site == "us",
		"paused":               s.Paused,
		"skip_deletes":         s.SkipDeletes,
		"replication_id":       s.CancelID == ID{"abc", "+continuous"},
	} {
		if !ok {
			t.Errorf("%s is not as written: %+v", name, s)
		}
	}
}

func TestFiltersAreRead(t *testing.T) {
	s, err := spec(t, `"filter":"d/f/g","query_params":{"b":1,"a":[2]}`)
	if err != nil {
		t.Fatal(err)
	}
	if d, f, ok := s.FilterDesignDoc(); d != "d" || f != "f/g" || !ok || string(s.QueryParams) != `{"b":1,"a":[2]}` {
		t.Errorf("filter %q, %q, %t with %s", d, f, ok, s.QueryParams)
	}
	s, err = spec(t, `"filter":"_view","query_params":{"view":"d/v"}`)
	if err != nil {
		t.Fatal(err)
	}
	if d, v, ok := s.View(); d != "d" || v != "v" || !ok {
		t.Errorf("view %q, %q, %t", d, v, ok)
	}
	if _, _, ok := s.FilterDesignDoc(); ok {
		t.Error("a built-in filter has a design document")
	}
	s, err = spec(t, `"selector":{"a":{"$gt":1.0}},"doc_ids":null`)
	if err != nil || string(s.Selector) != `{"a":{"$gt":1.0}}` || s.DocIDs != nil {
		t.Errorf("selector %s, doc_ids %v, %v", s.Selector, s.DocIDs, err)
	}
}

func TestFieldErrorsNameTheField(t *testing.T) {
	for _, c := range []struct{ fields, field, reason string }{
		{`"cancel":null`, "cancel", "parameter `cancel` must be a boolean"},
		{`"continuous":"true"`, "continuous", "parameter `continuous` must be a boolean"},
		{`"create_target":1`, "create_target", "parameter `create_target` must be a boolean"},
		{`"create_target_params":1`, "create_target_params", "parameter `create_target_params` must be a JSON object"},
		{`"create_target_params":{"q":[]}`, "create_target_params.q", "parameter `create_target_params.q` must be a string, a number or a boolean"},
		{`"winning_revs_only":"foo"`, "winning_revs_only", "parameter `winning_revs_only` must be a boolean"},
		{`"use_bulk_get":0`, "use_bulk_get", "parameter `use_bulk_get` must be a boolean"},
		{`"use_checkpoints":"false"`, "use_checkpoints", "parameter `use_checkpoints` must be a boolean"},
		{`"doc_ids":"a"`, "doc_ids", "parameter `doc_ids` must be an array"},
		{`"doc_ids":["a",null]`, "doc_ids", "parameter `doc_ids` must be an array of strings"},
		{`"filter":"noslash"`, "filter", "Invalid filter. Must match `ddocname/filtername`."},
		{`"filter":null`, "filter", "parameter `filter` must be a string"},
		{`"query_params":null`, "query_params", "parameter `query_params` must be an object"},
		{`"filter":"a/b","query_params":{"x":1e400}`, "query_params", "parameter `query_params`: number 1e400 is out of range"},
		{`"filter":"_view"`, "query_params", "Invalid `view` parameter."},
		{`"filter":"_view","query_params":{"view":"a/b/c"}`, "query_params", "Invalid `view` parameter."},
		{`"selector":[]`, "selector", "parameter `selector` must be a JSON object"},
		{`"selector":{"a":{"$bad":1}}`, "selector", "parameter `selector`: Invalid operator: $bad"},
		{`"selector":{},"filter":"a/b"`, "filter", "`doc_ids`,`filter`,`selector` are mutually exclusive"},
		{`"selector":{},"doc_ids":[]`, "filter", "`doc_ids`,`filter`,`selector` are mutually exclusive"},
		{`"filter":"a/b","doc_ids":["x"]`, "filter", "`doc_ids`,`filter`,`selector` are mutually exclusive"},
		{`"since_seq":{}`, "since_seq", "parameter `since_seq` must be a sequence: a string, an integer or an array"},
		{`"since_seq":true`, "since_seq", "parameter `since_seq` must be a sequence: a string, an integer or an array"},
		{`"worker_processes":0`, "worker_processes", "parameter `worker_processes` must be an integer of 1 or more"},
		{`"worker_processes":"a few"`, "worker_processes", "parameter `worker_processes` must be an integer of 1 or more"},
		{`"worker_processes":1.5`, "worker_processes", "parameter `worker_processes` must be an integer of 1 or more"},
		{`"worker_processes":null`, "worker_processes", "parameter `worker_processes` must be an integer of 1 or more"},
		{`"worker_batch_size":-1`, "worker_batch_size", "parameter `worker_batch_size` must be an integer of 1 or more"},
		{`"http_connections":4294967296`, "http_connections", "parameter `http_connections` must be at most 2147483647"},
		{`"retries_per_request":-1`, "retries_per_request", "parameter `retries_per_request` must be an integer of 0 or more"},
		{`"connection_timeout":0`, "connection_timeout", "parameter `connection_timeout` must be an integer of 1 or more"},
		{`"checkpoint_interval":true`, "checkpoint_interval", "parameter `checkpoint_interval` must be an integer of 1 or more"},
		{`"socket_options":1`, "socket_options", "parameter `socket_options` must be a string"},
		{`"proxy":1`, "proxy", "Invalid proxy url"},
		{`"source_proxy":"ftp://x"`, "source_proxy", "proxy has an invalid url"},
		{`"proxy":"http://x","source_proxy":"http://y"`, "proxy", "`proxy` is mutually exclusive with `source_proxy`"},
		{`"proxy":"http://x","target_proxy":"http://y"`, "proxy", "`proxy` is mutually exclusive with `target_proxy`"},
		{`"user_ctx":1`, "user_ctx", "parameter `user_ctx` must be a JSON object"},
		{`"user_ctx":{"roles":[1]}`, "user_ctx.roles", "parameter `user_ctx.roles` must be an array of strings"},
		{`"owner":1`, "owner", "parameter `owner` must be a string"},
		{`"_local_id":1`, "_local_id", "parameter `_local_id` must be a string"},
		{`"source_site":""`, "source_site", "parameter `source_site` must be the name of a site"},
		{`"paused":"no"`, "paused", "parameter `paused` must be a boolean"},
		{`"targets":[]`, "targets", "parameter `targets` must be an array of at least one database"},
		{`"targets":["http://x","http://x/"]`, "targets[1]", "`targets[1]` is the same replication as `targets[0]`"},
		{`"targets":["http://x","y"]`, "targets[1]", "local_endpoints_not_supported"},
	} {
		_, err := spec(t, c.fields)
		var f *FieldError
		if !asFieldError(err, &f) || f.Field != c.field || f.Reason != c.reason || f.Status() != 400 {
			t.Errorf("%s: %v, want field %s: %s", c.fields, err, c.field, c.reason)
		}
	}
}

func TestEndpointErrors(t *testing.T) {
	for _, c := range []struct{ doc, field, reason string }{
		{`{"target":"http://t"}`, "source", "Missing replicator database"},
		{`{"source":"http://s"}`, "target", "Missing replicator database"},
		{`{"source":"db","target":"http://t"}`, "source", "local_endpoints_not_supported"},
		{`{"source":"http://s","target":"http://t","targets":["http://u"]}`, "targets", "`target` is mutually exclusive with `targets`"},
		{`{"source":null,"target":"http://t"}`, "source", "parameter `source` must be a URL or an object with a `url`"},
		{`{"source":{},"target":"http://t"}`, "source", "endpoint has an invalid url"},
		{`{"source":{"url":1},"target":"http://t"}`, "source.url", "endpoint has an invalid url"},
		{`{"source":{"url":"http://s","headers":1},"target":"http://t"}`, "source.headers", "parameter `source.headers` must be a JSON object"},
		{`{"source":{"url":"http://s","headers":{"a":1}},"target":"http://t"}`, "source.headers.a", "parameter `source.headers.a` must be a string"},
		{`{"source":{"url":"http://s","headers":{"a":"b\r\nc: d"}},"target":"http://t"}`, "source.headers.a", "parameter `source.headers` has a header that cannot be sent"},
		{`{"source":{"url":"http://s","auth":1},"target":"http://t"}`, "source.auth", "parameter `source.auth` must be a JSON object"},
		{`{"source":{"url":"http://s","auth":{"basic":{"username":"u","password":null}}},"target":"http://t"}`, "source.auth.basic",
			"parameter `source.auth.basic` must be an object with the string `username` and one of `password`, `password_file` and `password_env`"},
	} {
		_, err := ParseSpec([]byte(c.doc))
		var f *FieldError
		if !asFieldError(err, &f) || f.Field != c.field || f.Reason != c.reason {
			t.Errorf("%s: %v, want field %s: %s", c.doc, err, c.field, c.reason)
		}
	}
}

func TestWhatIsNoDocumentIsRefused(t *testing.T) {
	if _, err := ParseSpec([]byte(`[]`)); !errors.Is(err, ErrNotAnObject) {
		t.Errorf("array: %v", err)
	}
	if _, err := ParseSpec([]byte(`{"source"`)); err == nil {
		t.Error("half a document was accepted")
	}
}

func TestFanOutHasAJobPerTarget(t *testing.T) {
	s, err := spec(t, `"targets":["http://u:p@t1/x",{"url":"http://t2/y","site":"us"}],"target_site":"eu","proxy":"http://p"`)
	if err != nil {
		t.Fatal(err)
	}
	jobs := s.Jobs()
	if len(jobs) != 2 || jobs[0].Target.Site != "eu" || jobs[1].Target.Site != "us" || jobs[1].Target.Proxy != "http://p" {
		t.Fatalf("jobs %v", jobs)
	}
	one, err := ParseSpec([]byte(`{"source":"http://s/a","target":"http://t2/y"}`))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := one.Jobs()[0].ID("u", "")
	if got, err := jobs[1].ID("u", ""); got != want || err != nil {
		t.Errorf("id %s (%v), want %s as for a job of its own", got, err, want)
	}
}

func TestCancelByIDNeedsNoEndpoints(t *testing.T) {
	for _, name := range []string{"_local_id", "replication_id", "id"} {
		s, err := ParseSpec([]byte(`{"cancel":true,"` + name + `":"abc continuous"}`))
		if err != nil || !s.Cancel || s.CancelID != (ID{"abc", "+continuous"}) {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	if _, err := ParseSpec([]byte(`{"cancel":true}`)); err == nil {
		t.Error("a cancel of nothing was accepted")
	}
}

func TestLocalNamesAreResolvedWhereAllowed(t *testing.T) {
	p := Parser{Defaults: DefaultTuning(), Local: func(name string) (string, []Header) {
		return "http://couch:5984/" + name, []Header{{"Authorization", Secret(basicHeader("u", "p"))}, {"x", "caller"}}
	}}
	s, err := p.Parse([]byte(`{"source":"db","target":{"url":"other","headers":{"x":"own"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if s.Source.URL != "http://couch:5984/db/" || s.Source.Auth.User != "u" || s.Targets[0].HTTPHeader().Get("x") != "own" {
		t.Errorf("source %v of %q, target headers %v", s.Source, s.Source.Auth.User, s.Targets[0].HTTPHeader())
	}
	if _, err := p.Parse([]byte(`{"source":"ftp://x/db","target":"db"}`)); err == nil {
		t.Error("another scheme was taken for a name")
	}
}

func TestBackoffDoublesUpToACap(t *testing.T) {
	for n, want := range map[int]time.Duration{
		-1: 0, 0: 0, 1: 30 * time.Second, 2: time.Minute, 10: 15360 * time.Second,
		11: 30720 * time.Second, 12: 30720 * time.Second, 1 << 30: 30720 * time.Second,
	} {
		if got := Backoff(n); got != want {
			t.Errorf("Backoff(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int]time.Duration{0: 64 * time.Second, 1: 128 * time.Second, 12: 262144 * time.Second, 99: 262144 * time.Second} {
		if got := ErrorBackoff(n); got != want {
			t.Errorf("ErrorBackoff(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestStatesAreParsedInAnyCase(t *testing.T) {
	for _, s := range States() {
		if got, ok := ParseState(strings.ToUpper(string(s))); got != s || !ok {
			t.Errorf("ParseState(%s) = %s, %t", strings.ToUpper(string(s)), got, ok)
		}
		if want := s == "completed" || s == "failed"; s.Terminal() != want {
			t.Errorf("%s.Terminal() = %t", s, s.Terminal())
		}
	}
	if _, ok := ParseState("done"); ok {
		t.Error("an unknown state was accepted")
	}
}

func TestStatsAddAndMaxGoByCounter(t *testing.T) {
	a, b := Stats{1, 2, 3, 4, 5, 6, 7, 8}, Stats{8, 7, 6, 5, 4, 3, 2, 1}
	if got := a.Add(b); got != (Stats{9, 9, 9, 9, 9, 9, 9, 9}) {
		t.Errorf("Add = %+v", got)
	}
	if got := a.Max(b); got != (Stats{8, 7, 6, 5, 5, 6, 7, 8}) {
		t.Errorf("Max = %+v", got)
	}
}
