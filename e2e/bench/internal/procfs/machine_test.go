package procfs

import (
	"testing"
	"time"
)

func TestBusyIsAllButIdleAndWaiting(t *testing.T) {
	got, err := parseBusy("cpu  100 20 30 99999 88888 4 5 6 77 8\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	if want := 1650 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestBusyOfWhatIsNoTableIsAnError(t *testing.T) {
	for _, text := range []string{"", "cpu", "cpu0 1 1 1 1 1 1 1 1 1 1", "cpu x 1 1 1 1 1 1 1"} {
		if got, err := parseBusy(text); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func FuzzBusy(f *testing.F) {
	f.Add("cpu  100 20 30 99999 88888 4 5 6 77 8\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = parseBusy(text) // must not panic
	})
}
