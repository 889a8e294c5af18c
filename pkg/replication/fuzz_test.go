package replication

import (
	"errors"
	"math"
	"testing"
	"time"

	"millrace/pkg/ejson"
)

// Whatever comes in: no panic; a refusal that names a field, unless the document is no JSON
// object; and of what is accepted an id, and numbers that can be worked with.
func FuzzParseSpec(f *testing.F) {
	f.Add([]byte(`{"source":"http://u:p@s/a","target":{"url":"http://t","headers":{"a":"b"}},"selector":{"a":{"$not":{"b":1}}}}`))
	f.Add([]byte(`{"source":"http://[::1]:1?","targets":["https://t"],"doc_ids":["%41+"],"since_seq":[1,"x"]}`))
	f.Add([]byte(`{"source":"http://s","target":"http://t","filter":"_view","query_params":{"view":"a/b"}}`))
	f.Add([]byte(`{"source":"http://s","target":"http://t","worker_processes":"4","checkpoint_interval":1,"create_target_params":{"q":8}}`))
	f.Add([]byte(`{"cancel":true,"_local_id":"abc continuous"}`))
	f.Add([]byte(`{"source":"http://s","target":"http://t","user_ctx":{"name":null,"roles":["r"]},"socket_options":"[]","owner":null}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s, err := ParseSpec(doc)
		var field *FieldError
		switch {
		case errors.As(err, &field):
			if field.Field == "" || field.Reason == "" || field.Status() != 400 {
				t.Fatalf("%s was refused with %+v", doc, field)
			}
			return
		case err != nil:
			if _, jerr := ejson.Members(doc); jerr == nil {
				t.Fatalf("%s is an object, and was refused without naming a field: %v", doc, err)
			}
			return
		}
		checkTuning(t, s.Tuning)
		if s.CancelID == (ID{}) && len(s.Jobs()) == 0 {
			t.Fatalf("%s was accepted and has no job", doc)
		}
		for _, j := range s.Jobs() {
			id, err := j.ID("uuid", "code")
			if err != nil {
				t.Fatalf("%s was accepted and has no id: %v", doc, err)
			}
			if ParseID(id.String()) != id {
				t.Fatalf("id %s is not read as it is written", id)
			}
			if again, err := ParseSpec(doc); err != nil || len(again.Jobs()) != len(s.Jobs()) {
				t.Fatalf("%s is not read twice the same way: %v", doc, err)
			}
		}
	})
}

func checkTuning(t *testing.T, u Tuning) {
	t.Helper()
	for name, n := range map[string]int{
		"worker_processes": u.WorkerProcesses, "worker_batch_size": u.WorkerBatchSize, "http_connections": u.HTTPConnections,
		"retries_per_request": u.RetriesPerRequest + 1,
	} {
		if n < 1 || n > math.MaxInt32+1 {
			t.Fatalf("%s: %d", name, n)
		}
	}
	if u.CheckpointInterval < time.Millisecond || u.ConnectionTimeout < time.Millisecond {
		t.Fatalf("intervals %s and %s", u.CheckpointInterval, u.ConnectionTimeout)
	}
}
