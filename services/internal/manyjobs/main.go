// Command manyjobs measures what many continuous jobs cost one process: its memory, its goroutines,
// what it has in JetStream, its processor time while nothing changes, and how long it takes to start,
// to copy one change, and to stop.
//
//	go run ./internal/manyjobs -jobs 2000 -sources 200
//	go run ./internal/manyjobs -jobs 1000 -sources 1 -selector
//	go run ./internal/manyjobs -jobs 2000 -sources 2000 -updates -settle 2m
//
// The databases are in a process of their own, so that they are not measured.
package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	"millrace/pkg/service"
	"millrace/services/millrace/node"
)

type options struct {
	jobs, sources int
	idle          time.Duration
	selector      bool
	profile       string
	source        string
	verbose       bool
	updates       bool
	settle        time.Duration
	latency       int
	again         bool
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "ponds" {
		if err := ponds(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.jobs, "jobs", 2000, "continuous jobs")
	flag.IntVar(&o.sources, "sources", 200, "databases that they read")
	flag.DurationVar(&o.idle, "idle", 20*time.Second, "how long to look at them while nothing changes")
	flag.BoolVar(&o.selector, "selector", false, "give each job a selector of its own")
	flag.StringVar(&o.profile, "profile", "", "file for a processor profile of the idle time")
	flag.StringVar(&o.source, "server", "", "server to make the databases at, in place of ponds: URL with user and password")
	flag.BoolVar(&o.updates, "updates", false, "have the ponds announce updates, so that quiet feeds are closed (a server given does what it does; $MILLRACE_QUIET_AFTER=0 keeps them open)")
	flag.DurationVar(&o.settle, "settle", 40*time.Second, "how long to wait before looking: for the first checkpoints, and for quiet feeds to be closed")
	flag.IntVar(&o.latency, "latency", 0, "time so many single changes, each at another source, after all have been quiet")
	flag.BoolVar(&o.again, "again", true, "stop and start again")
	flag.BoolVar(&o.verbose, "v", false, "show the log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "manyjobs:", err)
		os.Exit(1)
	}
}

// ponds serves databases until its input ends.
func ponds() error {
	server := millpond.New(millpond.Options{})
	defer server.Close()
	l, err := server.Listen("127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close() //nolint:errcheck // the process ends
	fmt.Println(l.URL)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// startPonds returns their address, and what ends them.
func startPonds() (address string, stop func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(self, "ponds")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(line), func() {
		_ = in.Close()
		_ = cmd.Wait()
	}, err
}

func run(ctx context.Context, o options) error {
	address := o.source
	if address == "" {
		var stop func()
		var err error
		if address, stop, err = startPonds(); err != nil {
			return err
		}
		defer stop()
	}
	if o.updates && o.source == "" {
		if err := make1(ctx, address, "_global_changes"); err != nil {
			return err
		}
	}
	for i := range o.sources {
		if err := make1(ctx, address, source(i)); err != nil {
			return err
		}
		defer remove(address, source(i))
	}
	for i := range o.jobs {
		if err := make1(ctx, address, target(i)); err != nil {
			return err
		}
		defer remove(address, target(i))
	}
	dir, err := os.MkdirTemp("", "manyjobs")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	log := slog.New(slog.DiscardHandler)
	if o.verbose {
		log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	config := service.FromEnvironment()
	n, err := node.Start(ctx, node.Options{Config: config, DataDir: dir, UUID: "0123456789abcdef0123456789abcdef", Log: log})
	if err != nil {
		return err
	}
	base := look()
	fmt.Printf("empty: %s\n", base)
	began := time.Now()
	for i := range o.jobs {
		if err := submit(ctx, n, address, i, o); err != nil {
			return err
		}
	}
	submitted := time.Since(began)
	if err := o.write(ctx, address, 1); err != nil {
		return err
	}
	if err := o.awaitAll(ctx, address, 1); err != nil {
		return err
	}
	fmt.Printf("%d jobs on %d sources: submitted after %.1f s, all have copied after %.1f s\n", o.jobs, o.sources, submitted.Seconds(), time.Since(began).Seconds())
	time.Sleep(o.settle)
	before := look()
	fmt.Printf("running: %s; per job %.1f KiB, %.1f goroutines\n", before, float64(before.rss-base.rss)/1024/float64(o.jobs), float64(before.goroutines-base.goroutines)/float64(o.jobs))
	if o.profile != "" {
		f, err := os.Create(o.profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // it is written by then
	}
	time.Sleep(o.idle)
	pprof.StopCPUProfile()
	after := look()
	fmt.Printf("idle: %s; %.1f %% of a core\n", after, 100*(after.cpu-before.cpu).Seconds()/o.idle.Seconds())
	if err := o.single(ctx, address); err != nil {
		return err
	}
	for range 3 {
		began = time.Now()
		if err := o.write(ctx, address, 1); err != nil {
			return err
		}
		if err := o.awaitAll(ctx, address, -1); err != nil {
			return err
		}
		fmt.Printf("one more change of each source is at all targets after %.2f s\n", time.Since(began).Seconds())
	}
	if !o.again {
		return n.Stop()
	}
	began = time.Now()
	if err := n.Stop(); err != nil {
		return err
	}
	fmt.Printf("stopped after %.1f s\n", time.Since(began).Seconds())
	began = time.Now()
	if n, err = node.Start(ctx, node.Options{Config: config, DataDir: dir, UUID: "0123456789abcdef0123456789abcdef", Log: log}); err != nil {
		return err
	}
	if err := o.write(ctx, address, 1); err != nil {
		return err
	}
	if err := o.awaitAll(ctx, address, -1); err != nil {
		return err
	}
	fmt.Printf("started again, and a change of each source is at all targets after %.1f s\n", time.Since(began).Seconds())
	return n.Stop()
}

func source(i int) string { return fmt.Sprintf("manyjobs-source-%d", i) }
func target(i int) string { return fmt.Sprintf("manyjobs-target-%d", i) }

func submit(ctx context.Context, n *node.Node, address string, i int, o options) error {
	selector := ""
	if o.selector {
		selector = fmt.Sprintf(`,"selector":{"owner":"user%d"}`, i)
	}
	spec, err := replication.ParseSpec(fmt.Appendf(nil, `{"source":"%s/%s","target":"%s/%s","continuous":true%s}`,
		address, source(i%o.sources), address, target(i), selector))
	if err != nil {
		return err
	}
	_, err = n.Registry().Submit(ctx, spec.Jobs()[0])
	return err
}

var written int

// write writes to each source: a document, or one for each job that is to have one.
func (o options) write(ctx context.Context, address string, n int) error {
	written += n
	for s := range o.sources {
		var docs bytes.Buffer
		for i := range n {
			if !o.selector {
				fmt.Fprintf(&docs, `,{"_id":"doc-%d-%d"}`, written, i)
				continue
			}
			for j := s; j < o.jobs; j += o.sources {
				fmt.Fprintf(&docs, `,{"_id":"doc-%d-%d-%d","owner":"user%d"}`, written, i, j, j)
			}
		}
		if err := call(ctx, http.MethodPost, address+"/"+source(s)+"/_bulk_docs", `{"docs":[`+docs.String()[1:]+`]}`, nil); err != nil {
			return err
		}
	}
	return nil
}

// awaitAll waits until every target has as many documents as were written for it.
func (o options) awaitAll(ctx context.Context, address string, _ int) error {
	for i := range o.jobs {
		for {
			var info struct {
				Count int `json:"doc_count"`
			}
			if err := call(ctx, http.MethodGet, address+"/"+target(i), "", &info); err != nil {
				return err
			}
			if info.Count >= written {
				break
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// usage is what the process has and has used.
type usage struct {
	rss        int64
	heap       uint64
	goroutines int
	sockets    int
	cpu        time.Duration
}

func look() usage {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	var pages int64
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size int64
		_, _ = fmt.Sscan(string(text), &size, &pages)
	}
	return usage{
		sockets: sockets(),
		rss:     pages * int64(os.Getpagesize()), heap: m.HeapAlloc, goroutines: runtime.NumGoroutine(),
		cpu: time.Duration(r.Utime.Nano() + r.Stime.Nano()),
	}
}

func (u usage) String() string {
	return fmt.Sprintf("%d MiB resident, %d MiB heap, %d goroutines, %d sockets", u.rss>>20, u.heap>>20, u.goroutines, u.sockets)
}
