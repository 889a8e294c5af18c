package replicator_test

import (
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/millpond"
	"millrace/services/internal/databasetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func databases(t *testing.T) (source, target *databasetest.Database) {
	t.Helper()
	return databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
}
