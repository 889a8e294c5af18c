package pipelinetest_test

import (
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/millpond"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPipelineReplicates(t *testing.T) {
	source := databasetest.New(t, millpond.Options{})
	target := databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 20)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All()})
	done := p.Finish(p.Submit(source, target, "").Id)
	databasetest.SameLeaves(t, source, target)
	if got := done.Totals; got.DocsWritten != 20 || got.DocsRead != 20 || got.MissingFound != 20 {
		t.Errorf("counted %v", got)
	}
}
