package usage

import (
	"errors"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"millrace/e2e/bench/internal/procfs"
)

// address returns the URL of a listener of this very process.
func address(t *testing.T) *url.URL {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs Linux's /proc:", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return &url.URL{Scheme: "http", Host: listener.Addr().String()}
}

func TestServersOfThisMachineAreMeasured(t *testing.T) {
	here := address(t)
	s, err := Find(t.Context(), procfs.New("/proc"), here, here)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Local() {
		t.Fatal("not local")
	}
	before, err := s.Read()
	if err != nil {
		t.Fatal(err)
	}
	for used := (Reading{}); used.Both <= 0; {
		now, err := s.Read()
		if err != nil {
			t.Fatal(err)
		}
		if used = now.Sub(before); used.Both != used.Source {
			t.Fatalf("one process is counted twice: %+v", used)
		}
	}
}

func TestServersComeToRest(t *testing.T) {
	here := address(t)
	s, err := Find(t.Context(), procfs.New("/proc"), here, here)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Settle(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestServerElsewhereIsNotMeasured(t *testing.T) {
	elsewhere := &url.URL{Scheme: "https", Host: "192.0.2.1"} // an address for documentation, RFC 5737
	s, err := Find(t.Context(), procfs.New("/proc"), address(t), elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if s.Local() {
		t.Error("local")
	}
	if _, err := s.Read(); !errors.Is(err, ErrNotLocal) {
		t.Errorf("got %v", err)
	}
	if quiet, err := s.Settle(t.Context()); !quiet || err != nil {
		t.Errorf("got %t, %v", quiet, err)
	}
}

func TestReadingsAreSubtracted(t *testing.T) {
	got := Reading{Source: 3 * time.Second, Target: 5 * time.Second, Both: 8 * time.Second, Machine: 9 * time.Second}.Sub(
		Reading{Source: time.Second, Target: time.Second, Both: 2 * time.Second, Machine: 2 * time.Second})
	if want := (Reading{Source: 2 * time.Second, Target: 4 * time.Second, Both: 6 * time.Second, Machine: 7 * time.Second}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
