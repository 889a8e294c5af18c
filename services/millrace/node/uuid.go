package node

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// serverUUID returns the given uuid, or the one in the file, or a new one, which is then
// in the file. It must not come from the broker, whose disk may be lost: the checkpoints
// at the databases are found by it.
func serverUUID(given, file string) (string, error) {
	if given != "" {
		return given, nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", fmt.Errorf("keep the server's uuid: %w", err)
	}
	fresh := make([]byte, 16)
	rand.Read(fresh) //nolint:errcheck // never fails
	err := writeNew(file, hex.EncodeToString(fresh)+"\n")
	if err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("keep the server's uuid: %w", err)
	}
	there, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the server's uuid: %w", err)
	}
	uuid := strings.TrimSpace(string(there))
	if uuid == "" {
		return "", fmt.Errorf("read the server's uuid: %s is empty", file)
	}
	return uuid, nil
}

// writeNew makes the file with its content at once, so that of two programs that start
// together both have the uuid of the one that was faster.
func writeNew(file, content string) error {
	temp, err := os.CreateTemp(filepath.Dir(file), ".uuid-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) //nolint:errcheck // what is left is harmless
	_, err = temp.WriteString(content)
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	return os.Link(temp.Name(), file)
}
