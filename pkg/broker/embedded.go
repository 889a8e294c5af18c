package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// EmbeddedOptions says how the broker inside the process runs. DataDir is
// required, everything else has a default.
type EmbeddedOptions struct {
	// DataDir holds the streams. One process at a time may use it.
	DataDir string
	// Listen is "host:port" for clients from outside the process; port 0 takes
	// a free one. Empty: no port at all, the broker serves its own process only.
	Listen string
	// Door lets other programs of this user in, whatever Listen says: those that can read the
	// data directory find there where the server is, and the secret that opens it. They may
	// look and ask, but hold no leases. See [Door].
	Door bool
	// SyncInterval between forced writes to disk; 0 means NATS' default of two
	// minutes. What was acknowledged since the last one may be lost to a power
	// failure, not to a crash of the process. Replications survive that
	// (invariant 1: checkpoints follow what the target has), documents of our
	// own _replicator may not: see SyncAlways.
	SyncInterval time.Duration
	// SyncAlways forces every write to disk before it is acknowledged.
	SyncAlways bool
	// MaxPayload is the largest message in bytes, headers included; 0 means
	// 1 MiB. Larger ones travel by claim check.
	MaxPayload int32
	// MaxStore limits what all streams together may take on disk, in bytes; 0
	// means what the disk has to offer.
	MaxStore int64
	// ReadyTimeout is how long the start may take; 0 means 30 seconds. Large
	// data directories are read in full after a crash.
	ReadyTimeout time.Duration
	// Logger gets the server's warnings and errors; nil discards them.
	Logger *slog.Logger
}

// maxPending is what the server buffers for one connection before it cuts it.
// In one process all stages share a connection, and each pulls up to 16 MiB
// ahead: NATS' default of 64 MiB would be too little.
const maxPending = 256 * mib

// Embedded is a NATS server with JetStream inside this process.
type Embedded struct {
	server *server.Server
	lock   *flock.Flock
	listen bool
	door   door
}

// StartEmbedded starts a server and waits until it serves. The error is
// [ErrDataDirInUse] when another process has the data directory.
func StartEmbedded(ctx context.Context, o EmbeddedOptions) (*Embedded, error) {
	lock, err := lockDataDir(o.DataDir)
	if err != nil {
		return nil, err
	}
	e := &Embedded{lock: lock, listen: o.Listen != ""}
	if o.Door {
		e.door = newDoor(o.DataDir, !e.listen)
	}
	if err := e.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start embedded broker in %s: %w", o.DataDir, err), e.Close())
	}
	return e, nil
}

// lockDataDir takes the data directory for this process. Two servers on the
// same files would destroy them.
func lockDataDir(dir string) (*flock.Flock, error) {
	if dir == "" {
		return nil, errors.New("start embedded broker: no data directory given")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	lock := flock.New(filepath.Join(dir, "millrace.lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock data directory %s: %w", dir, err)
	}
	if !locked {
		return nil, fmt.Errorf("start embedded broker in %s: %w", dir, ErrDataDirInUse)
	}
	return lock, nil
}

func (e *Embedded) start(ctx context.Context, o EmbeddedOptions) error {
	options, err := serverOptions(o)
	if err != nil {
		return err
	}
	e.door.fit(options)
	e.server, err = server.NewServer(options)
	if err != nil {
		return err
	}
	if o.Logger != nil {
		e.server.SetLoggerV2(serverLog{o.Logger}, false, false, false)
	}
	e.server.Start()
	if err := e.waitReady(ctx, o.ReadyTimeout); err != nil {
		return err
	}
	return e.door.open(e.server.ClientURL())
}

// waitReady asks in short steps, because the server's own wait knows no context.
func (e *Embedded) waitReady(ctx context.Context, limit time.Duration) error {
	if limit == 0 {
		limit = 30 * time.Second
	}
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.server.ReadyForConnections(100 * time.Millisecond) {
			return nil
		}
	}
	return fmt.Errorf("not ready after %s", limit)
}

func serverOptions(o EmbeddedOptions) (*server.Options, error) {
	options := &server.Options{
		ServerName:        "millrace",
		JetStream:         true,
		StoreDir:          filepath.Join(o.DataDir, "nats"),
		JetStreamMaxStore: o.MaxStore,
		SyncInterval:      o.SyncInterval,
		SyncAlways:        o.SyncAlways,
		MaxPayload:        o.MaxPayload,
		MaxPending:        maxPending,
		NoSigs:            true,
		NoLog:             o.Logger == nil,
		DontListen:        o.Listen == "",
	}
	if o.Listen == "" {
		return options, nil
	}
	host, port, err := net.SplitHostPort(o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen address: %w", err)
	}
	options.Host = host
	if options.Port, err = strconv.Atoi(port); err != nil {
		return nil, fmt.Errorf("listen address %q: port is not a number", o.Listen)
	}
	if options.Port == 0 {
		options.Port = server.RANDOM_PORT
	}
	return options, nil
}

// ClientURL is where programs outside the process connect to; empty when the
// server has no port.
func (e *Embedded) ClientURL() string {
	if !e.listen {
		return ""
	}
	return e.server.ClientURL()
}

// Private reports that the services of this process are the only ones, so that
// whatever a lease says, no other process can hold one.
func (e *Embedded) Private() bool { return !e.listen }

// Connect returns a new connection that does not leave the process.
func (e *Embedded) Connect(options ...nats.Option) (*nats.Conn, error) {
	options = append(options, nats.InProcessServer(e.server))
	if e.door.token != "" {
		options = append(options, nats.Token(e.door.token))
	}
	return nats.Connect("", options...)
}

// Close stops the server, waits until it is down, and frees the data directory.
// Close connections first: the server does not wait for them.
func (e *Embedded) Close() error {
	e.door.close()
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
	if err := e.lock.Unlock(); err != nil {
		return fmt.Errorf("unlock data directory: %w", err)
	}
	return nil
}

// serverLog hands the server's warnings and errors on. Its notices and traces
// speak of its own life and are left out.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(string, ...any) {}
func (l serverLog) Debugf(string, ...any)  {}
func (l serverLog) Tracef(string, ...any)  {}
func (l serverLog) Warnf(format string, v ...any) {
	l.log.Warn(fmt.Sprintf(format, v...), "component", "nats-server")
}
func (l serverLog) Errorf(format string, v ...any) {
	l.log.Error(fmt.Sprintf(format, v...), "component", "nats-server")
}
func (l serverLog) Fatalf(format string, v ...any) { l.Errorf(format, v...) }
