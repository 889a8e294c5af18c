package verify

import (
	"testing"

	"go.uber.org/goleak"
)

// The clock of regexp2's time limits stops by itself some time after the last match.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock"))
}
