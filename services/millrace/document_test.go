package main

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"millrace/pkg/replication"
)

// specOf parses a command line, whose document is on standard input, as replicate does.
func specOf(document string, args ...string) (replication.Job, error) {
	r := &replicateFlags{}
	f := pflag.NewFlagSet("replicate", pflag.ContinueOnError)
	for _, g := range r.groups() {
		f.AddFlagSet(g.flags)
	}
	if err := f.Parse(args); err != nil {
		return replication.Job{}, err
	}
	if err := r.document.arguments(f.Args(), "SOURCE", "TARGET"); err != nil {
		return replication.Job{}, err
	}
	spec, err := r.spec(strings.NewReader(document), f.Args())
	if err != nil {
		return replication.Job{}, err
	}
	return spec.Jobs()[0], nil
}

const from, to = "http://127.0.0.1/a", "http://127.0.0.1/b"

func TestDocumentIDsOfTheCommandLineAreTakenAsTheyAre(t *testing.T) {
	ids := []string{"a+b", "a b", "%2F", "100%", "_design/a/b%20c", "caf\u00e9"}
	slices.Sort(ids)
	spec, err := specOf("", from, to, "--doc-ids", strings.Join(ids, ","))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(spec.DocIDs, ids) {
		t.Errorf("got %q, want %q", spec.DocIDs, ids)
	}
}

func TestFlagsAreTheFieldsOfADocument(t *testing.T) {
	got, err := specOf("", from, to, "-c", "--create-target", "--create-target-params", "q=2,partitioned=true",
		"--since-seq", "12-x", "--winning-revs-only", "--no-checkpoints", "--no-bulk-get", "--workers", "7", "--batch-size", "20",
		"--http-connections", "3", "--retries-per-request", "0", "--checkpoint-interval", "1s", "--connection-timeout", "2s")
	if err != nil {
		t.Fatal(err)
	}
	want, err := replication.ParseSpec([]byte(`{"source":"` + from + `","target":"` + to + `","continuous":true,"create_target":true,
		"create_target_params":{"q":"2","partitioned":"true"},"since_seq":"12-x","winning_revs_only":true,"use_checkpoints":false,
		"use_bulk_get":false,"worker_processes":7,"worker_batch_size":20,"http_connections":3,"retries_per_request":0,
		"checkpoint_interval":1000,"connection_timeout":2000}`))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Spec, want) {
		t.Errorf("got  %+v\nwant %+v", got.Spec, want)
	}
}

func TestCommandLineHasCouchDBsDefaultsButChecksOftener(t *testing.T) {
	got, err := specOf("", from, to)
	if err != nil {
		t.Fatal(err)
	}
	want := replication.DefaultTuning()
	want.CheckpointInterval = 5 * time.Second
	if got.Tuning != want {
		t.Errorf("tuning %+v", got.Tuning)
	}
}

func TestFlagsOverrideADocument(t *testing.T) {
	const document = `{"source":{"url":"http://h/x","headers":{"x-a":"1"}},"target":"http://h/y","worker_batch_size":9,"continuous":true,
		"since_seq":[3,"x"],"socket_options":"[{nodelay,true}]"}`
	got, err := specOf(document, "--document", "-")
	if err != nil {
		t.Fatal(err)
	}
	if got.Source.URL != "http://h/x/" || len(got.Source.Headers) != 1 || got.WorkerBatchSize != 9 || !got.Continuous ||
		string(got.SinceSeq) != `[3,"x"]` || !slices.Equal(got.Ignored, []string{"socket_options"}) ||
		got.CheckpointInterval != 30*time.Second {
		t.Errorf("the document alone: %+v", got.Spec)
	}
	got, err = specOf(document, "--document", "-", "--continuous=false", "--batch-size", "3", from, to)
	if err != nil {
		t.Fatal(err)
	}
	if got.Source.URL != from+"/" || got.Target.URL != to+"/" || got.WorkerBatchSize != 3 || got.Continuous || string(got.SinceSeq) != `[3,"x"]` {
		t.Errorf("with flags: %+v", got.Spec)
	}
}

func TestWrongCommandLinesSayWhatIsWrong(t *testing.T) {
	both := `"source":"` + from + `","target":"` + to + `"`
	for _, c := range []struct {
		document, says string
		args           []string
	}{
		{"", "expected SOURCE and TARGET, got 0 arguments", nil},
		{"", "expected SOURCE and TARGET, got 1 arguments", []string{from}},
		{`{` + both + `}`, "expected SOURCE and TARGET, got 1 arguments", []string{"--document", "-", from}},
		{`[]`, "--document: not a JSON object", []string{"--document", "-"}},
		{`{"source":`, "--document: ", []string{"--document", "-"}},
		{`{"target":"` + to + `"}`, "Missing replicator database", []string{"--document", "-"}},
		{"", "parameter `worker_processes` must be an integer of 1 or more", []string{"--workers", "0", from, to}},
		{"", "parameter `checkpoint_interval` must be an integer of 1 or more", []string{"--checkpoint-interval", "-1s", from, to}},
		{`{` + both + `,"paused":true}`, "`paused` is not supported", []string{"--document", "-"}},
		{`{` + both + `,"cancel":true}`, "`cancel` is not supported", []string{"--document", "-"}},
		{`{"source":"` + from + `","targets":["` + to + `",{"target":"` + to + `/2","selector":[]}]}`, "parameter `targets[1].selector` must be", []string{"--document", "-"}},
		{"", "--document: open ", []string{"--document", filepath.Join(t.TempDir(), "absent")}},
	} {
		if _, err := specOf(c.document, c.args...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %q: %v, want %s", c.document, c.args, err, c.says)
		}
	}
}
