package writer_test

import (
	"fmt"
	"strings"
	"testing"

	"millrace/pkg/millpond"
	"millrace/services/bulk-writer/writer"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

// Each message of BODIES has some documents of every job.
func TestMessagesThatManyFilteredJobsReferToAreReadOnce(t *testing.T) {
	t.Parallel()
	const (
		jobs  = 40
		docs  = 20 // of each job
		bytes = 1000
	)
	source := databasetest.New(t, millpond.Options{})
	for i := range docs {
		var batch []string
		for j := range jobs {
			batch = append(batch, fmt.Sprintf(`{"_id":"%d-%d","_rev":"1-a","owner":%d,"text":%q}`, i, j, j, strings.Repeat("x", bytes)))
		}
		source.Write(t, batch...)
	}
	targets := make([]*databasetest.Database, jobs)
	entries := make([]string, jobs)
	for j := range jobs {
		targets[j] = databasetest.New(t, millpond.Options{})
		entries[j] = fmt.Sprintf(`{"target":%q,"selector":{"owner":%d}}`, targets[j].Address(), j)
	}
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.Without(writer.Name)})
	w := p.Run(writer.Name)
	for _, job := range p.SubmitAll(source, strings.Join(entries, ","), "") {
		p.Finish(job.Id)
	}
	for j, target := range targets {
		if n := len(target.Leaves(t)); n != docs {
			t.Errorf("target %d has %d documents", j, n)
		}
	}
	all := uint64(jobs * docs * bytes)
	got := w.Received()
	if got > 5*all {
		t.Errorf("read %d bytes from the broker, for %d bytes of documents", got, all)
	}
}
