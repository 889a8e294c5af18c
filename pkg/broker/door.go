package broker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
)

// ErrNoDoor says that no server in the data directory can be reached from outside of its process.
var ErrNoDoor = errors.New("no door")

// door is how other programs of the same user reach an embedded server: a port on this machine, and
// a file in the data directory that says which, with the token that opens it. Who can read the
// file can read the streams as well. The zero value is none.
type door struct {
	path  string
	token string // empty where the server listens anyway, and is open
}

func newDoor(dataDir string, locked bool) door {
	d := door{path: doorPath(dataDir)}
	if locked {
		d.token = rand.Text()
	}
	return d
}

func doorPath(dataDir string) string { return filepath.Join(dataDir, "door") }

// fit has the server listen.
func (d door) fit(o *server.Options) {
	if d.token == "" {
		return
	}
	o.DontListen, o.Host, o.Port, o.Authorization = false, "127.0.0.1", server.RANDOM_PORT, d.token
}

// open tells where the server is.
func (d door) open(address string) error {
	if d.path == "" {
		return nil
	}
	if d.token != "" {
		u, err := url.Parse(address)
		if err != nil {
			return fmt.Errorf("address of the server: %w", err)
		}
		u.User = url.User(d.token)
		address = u.String()
	}
	if err := os.Remove(d.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("tell where the server is: %w", err)
	}
	if err := os.WriteFile(d.path, []byte(address+"\n"), 0o600); err != nil {
		return fmt.Errorf("tell where the server is: %w", err)
	}
	return nil
}

func (d door) close() {
	if d.path != "" {
		os.Remove(d.path) //nolint:errcheck // what it says leads nowhere any more
	}
}

// Door returns the URL of the server that has the data directory, with what opens it. The error wraps
// [ErrNoDoor] if there is none. Where it leads nowhere, the process that had the directory has died.
func Door(dataDir string) (string, error) {
	address, err := os.ReadFile(doorPath(dataDir))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("data directory %s: %w", dataDir, ErrNoDoor)
	}
	if err != nil {
		return "", fmt.Errorf("find the server of a data directory: %w", err)
	}
	return strings.TrimSpace(string(address)), nil
}
