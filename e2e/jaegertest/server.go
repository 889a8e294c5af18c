package jaegertest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// stopTimeout is how long Jaeger may take to end by itself.
const stopTimeout = 5 * time.Second

// maxTraces bounds Jaeger's memory; older traces are forgotten.
const maxTraces = 20000

// Server is a running Jaeger. Its methods may be called from several goroutines.
type Server struct {
	cmd    *exec.Cmd
	client *http.Client
	log    *startLog
	// exited is closed when the process has ended; exit is how.
	exited chan struct{}
	exit   error

	addresses addresses

	stop    sync.Once
	stopped error
}

// Start builds Jaeger if need be (see [Build]), starts it, and returns when it
// takes spans and answers queries. ctx bounds the start, not the life: that
// ends with Stop.
//
// All its listeners are on the loopback interface, on ports that the kernel
// chose, so that any number of tests can have their own.
func Start(ctx context.Context) (*Server, error) {
	path, err := Build(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cmd:    exec.Command(path, flags()...),
		client: &http.Client{Transport: &http.Transport{}},
		log:    newStartLog(),
		exited: make(chan struct{}),
	}
	s.cmd.Env = environment(os.Environ())
	s.cmd.Stderr = s.log
	s.cmd.SysProcAttr = diesWithParent()
	started := make(chan error, 1)
	go s.live(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start Jaeger: %w", err)
	}
	if err := s.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// live is the process's life. To the kernel a process's parent is the thread
// that started it, so that thread has to stay.
func (s *Server) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.exited)
	err := s.cmd.Start()
	started <- err
	if err == nil {
		s.exit = s.cmd.Wait()
	}
}

// ForTest starts a Jaeger that ends with the test. With -short it skips the
// test instead: the first build takes minutes.
func ForTest(tb testing.TB) *Server {
	tb.Helper()
	if testing.Short() {
		tb.Skip("Jaeger is not started with -short")
	}
	s, err := Start(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Stop(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Endpoint is the value for OTEL_EXPORTER_OTLP_ENDPOINT (OTLP over HTTP).
func (s *Server) Endpoint() string { return "http://" + s.addresses.otlp }

// QueryURL is the base of Jaeger's API, without a slash at its end.
func (s *Server) QueryURL() string { return "http://" + s.addresses.query }

// Stop ends the process and waits for it. It returns an error if the process
// had ended before or must be killed. A second call returns the same.
func (s *Server) Stop() error {
	s.stop.Do(func() { s.stopped = s.end() })
	return s.stopped
}

func (s *Server) end() error {
	s.client.CloseIdleConnections()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		<-s.exited
		return fmt.Errorf("the Jaeger process had ended before it was stopped (%w): %w\n%s", err, s.exit, s.log.tail())
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(stopTimeout):
		err := s.cmd.Process.Kill()
		<-s.exited
		return errors.Join(fmt.Errorf("the Jaeger process did not end within %v and was killed\n%s", stopTimeout, s.log.tail()), err)
	}
}

func (s *Server) awaitReady(ctx context.Context) error {
	select {
	case s.addresses = <-s.log.ready:
		return nil
	case <-s.exited:
		return fmt.Errorf("start Jaeger: %w\n%s", s.exit, s.log.tail())
	case <-ctx.Done():
		return fmt.Errorf("wait for Jaeger: %w\n%s", ctx.Err(), s.log.tail())
	}
}

// flags put each listener on the loopback interface, with a port that the kernel
// chooses. Jaeger wants the two of its query service to differ in name.
func flags() []string {
	const free = "127.0.0.1:0"
	return []string{
		"--collector.otlp.http.host-port=" + free,
		"--collector.otlp.grpc.host-port=" + free,
		"--collector.http-server.host-port=" + free,
		"--collector.grpc-server.host-port=" + free,
		"--query.http-server.host-port=" + free,
		"--query.grpc-server.host-port=localhost:0",
		"--admin.http.host-port=" + free,
		fmt.Sprintf("--memory.max-traces=%d", maxTraces),
	}
}

// environment leaves out what is meant for the tested program: Jaeger would
// send traces of its own to that endpoint.
func environment(inherited []string) []string {
	env := []string{"OTEL_TRACES_SAMPLER=always_off"}
	for _, v := range inherited {
		if !strings.HasPrefix(v, "OTEL_") {
			env = append(env, v)
		}
	}
	return env
}
