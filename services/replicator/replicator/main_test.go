package replicator_test

import (
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/millpond"
	"millrace/services/internal/pipelinetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func databases(t *testing.T) (source, target *pipelinetest.Database) {
	t.Helper()
	return pipelinetest.NewDatabase(t, millpond.Options{}), pipelinetest.NewDatabase(t, millpond.Options{})
}
