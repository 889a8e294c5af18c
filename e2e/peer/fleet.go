package peer

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// fleet is the servers of one test process. Each is started when it is first
// asked for, once, because Node takes seconds to start and npm longer.
type fleet struct {
	mu       sync.Mutex
	millpond *Server
	pouchdb  *pouchdb
	stops    []func() error
}

// process is the one fleet of this process: go test gives a package's tests no
// other place in common than the package.
var process fleet

// Main runs a package's tests, stops the servers that they used, checks that no
// goroutine is left and exits with the tests' code: the whole of a TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if err := process.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the test servers:", err)
		code = max(code, 1)
	}
	if code == 0 {
		// The clock of regular expressions, which the millpond has in selectors, ends by itself a while later.
		if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/dlclark/regexp2/v2.runClock")); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// All returns every server at hand, at least the millpond. The others are left
// out, saying why in the test's log, when -short asks for no npm and when
// MILLRACE_TEST_COUCHDB is not set. Any other reason fails the test.
func All(t testing.TB) []*Server {
	t.Helper()
	servers := []*Server{process.millpondServer(t)}
	if testing.Short() {
		t.Log("without PouchDB: -short")
	} else {
		servers = append(servers, process.pouchdbServer(t))
	}
	couchdbs, err := named(os.Getenv(couchdbVariable))
	if err != nil {
		t.Fatal(err)
	}
	if len(couchdbs) == 0 {
		t.Logf("without a real CouchDB: %s is not set", couchdbVariable)
	}
	return append(servers, couchdbs...)
}

// OfKind returns the servers of a kind, and skips the test if there are none.
func OfKind(t testing.TB, kind Kind) []*Server {
	t.Helper()
	var servers []*Server
	for _, s := range All(t) {
		if s.Kind == kind {
			servers = append(servers, s)
		}
	}
	if len(servers) == 0 {
		t.Skipf("no %s at hand", kind)
	}
	return servers
}

// Pair is a server to replicate from and one to replicate to. They may be the
// same; the databases that a test makes on them are not.
type Pair struct {
	Source, Target *Server
}

// Name is fit for a subtest's name.
func (p Pair) Name() string { return p.Source.Name + " to " + p.Target.Name }

// Shared is what both sides can do.
func (p Pair) Shared() Capabilities { return p.Source.And(p.Target.Capabilities) }

// NewDBs creates an empty database on each side.
func (p Pair) NewDBs(t testing.TB) (source, target string) {
	t.Helper()
	return p.Source.NewDB(t), p.Target.NewDB(t)
}

// Pairs returns all ordered pairs of the servers at hand, each server with itself
// included.
func Pairs(t testing.TB) []Pair {
	t.Helper()
	servers := All(t)
	pairs := make([]Pair, 0, len(servers)*len(servers))
	for _, source := range servers {
		for _, target := range servers {
			pairs = append(pairs, Pair{Source: source, Target: target})
		}
	}
	return pairs
}

func (f *fleet) millpondServer(t testing.TB) *Server {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.millpond == nil {
		s, stop, err := startMillpond()
		if err != nil {
			t.Fatalf("start a millpond: %v", err)
		}
		f.millpond, f.stops = s, append(f.stops, stop)
	}
	return f.millpond
}

func (f *fleet) pouchdbServer(t testing.TB) *Server {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.pouchdb == nil {
		p, err := startPouchDB(t.Context(), t.Logf)
		if err != nil {
			t.Fatalf("start a PouchDB server (-short does without): %v", err)
		}
		f.pouchdb, f.stops = p, append(f.stops, p.stop)
	}
	if err := f.pouchdb.dead(); err != nil {
		t.Fatalf("the PouchDB server has died: %v", err)
	}
	return &f.pouchdb.Server
}

func (f *fleet) stop() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, stop := range f.stops {
		errs = append(errs, stop())
	}
	f.millpond, f.pouchdb, f.stops = nil, nil, nil
	return errors.Join(errs...)
}

// couchdbVariable names real servers: URLs with credentials, between commas.
const couchdbVariable = "MILLRACE_TEST_COUCHDB"

// named makes servers of a list of URLs.
func named(list string) ([]*Server, error) {
	var servers []*Server
	for raw := range strings.SplitSeq(list, ",") {
		raw = strings.TrimRight(strings.TrimSpace(raw), "/")
		if raw == "" {
			continue
		}
		if !strings.HasPrefix(raw, "http://") && !strings.HasPrefix(raw, "https://") {
			return nil, fmt.Errorf("%s: entry %d is not an http URL", couchdbVariable, len(servers)+1)
		}
		servers = append(servers, &Server{
			Name: fmt.Sprintf("couchdb%d", len(servers)+1), URL: raw, Kind: CouchDB,
			Capabilities: capabilitiesOf(CouchDB),
		})
	}
	return servers, nil
}
