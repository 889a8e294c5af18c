package credential

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

var (
	// ErrNotAllowed is wrapped by the errors for references that the site does not follow.
	ErrNotAllowed = errors.New("the site does not allow it")
	// ErrUnavailable is wrapped by the errors for secrets that are not where they should be.
	ErrUnavailable = errors.New("the secret is not there")
)

// Rules say which references a site follows. The zero value follows none. Whoever may submit jobs can
// have what a rule allows sent to a server of theirs, unless the rule names a host.
type Rules struct {
	// Any follows all: for a command line, whose user may read those files anyway.
	Any bool
	// Files are the directories, and Env the prefixes of names, below which references are followed.
	Files, Env []Rule
	// Netrc is the file for documents that name none; empty for none. Its entries are bound to their hosts.
	Netrc string
}

// Rule is a directory or the prefix of a name.
type Rule struct {
	// Host is the only one that the secrets are for; empty for any.
	Host string
	// Below is an absolute directory, or a prefix.
	Below string
}

// ParseRule reads HOST=BELOW or BELOW.
func ParseRule(text string) (Rule, error) {
	r := Rule{Below: text}
	if host, below, ok := strings.Cut(text, "="); ok {
		r = Rule{Host: host, Below: below}
		if host == "" {
			return Rule{}, fmt.Errorf("expected a host before =, got %q", text)
		}
	}
	if r.Below == "" {
		return Rule{}, errors.New("expected something after the host")
	}
	return r, nil
}

// Use is what a secret is used for.
type Use struct {
	// Host that it is sent to, without a port.
	Host string
	// Detour: the document chooses the way to the host (a proxy, other authorities, no
	// verification, another place for tokens), on which somebody may sit. Secrets that are
	// for one host are not sent then.
	Detour bool
}

func (r Rule) permits(use Use) bool {
	return r.Host == "" || strings.EqualFold(r.Host, use.Host) && !use.Detour
}

// limit of a secret in bytes: a bundle of all public authorities has a quarter of it.
const limit = 1 << 20

// Read returns the secret. Errors wrap [ErrNotAllowed] and [ErrUnavailable], and name the
// reference and never its content.
func (r Rules) Read(v Value, use Use) (string, error) {
	switch {
	case v.File != "":
		return r.file(v.File, use)
	case v.Env != "":
		return r.env(v.Env, use)
	}
	return string(v.Text), nil
}

func (r Rules) file(path string, use Use) (string, error) {
	if !CleanFile(path) {
		return "", fmt.Errorf("file %s: %w: its path is not absolute", path, ErrNotAllowed)
	}
	if r.Any {
		return readRegular(path, os.Stat, os.Open)
	}
	for _, rule := range r.Files {
		below, err := filepath.Rel(rule.Below, path)
		if err != nil || !filepath.IsLocal(below) || !rule.permits(use) {
			continue
		}
		return readBelow(rule.Below, below, path)
	}
	return "", fmt.Errorf("file %s: %w", path, ErrNotAllowed)
}

// readBelow reads a file that is really below the directory, whatever symbolic links are on
// the way.
func readBelow(dir, below, path string) (string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return "", fmt.Errorf("file %s: %w", path, ErrUnavailable)
	}
	defer root.Close() //nolint:errcheck // it was read only
	text, err := readRegular(below, root.Stat, root.Open)
	if err != nil {
		return "", fmt.Errorf("file %s: %w", path, err)
	}
	return text, nil
}

// readRegular does not open what may block, as a pipe does.
func readRegular(path string, stat func(string) (fs.FileInfo, error), open func(string) (*os.File, error)) (string, error) {
	info, err := stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return "", fmt.Errorf("%w: no file of at most %d bytes", ErrUnavailable, limit)
	}
	f, err := open(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer f.Close() //nolint:errcheck // it was read only
	text, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

func (r Rules) env(name string, use Use) (string, error) {
	allowed := r.Any
	for _, rule := range r.Env {
		allowed = allowed || strings.HasPrefix(name, rule.Below) && rule.permits(use)
	}
	if !allowed {
		return "", fmt.Errorf("variable %s: %w", name, ErrNotAllowed)
	}
	value, ok := os.LookupEnv(name)
	if !ok {
		return "", fmt.Errorf("variable %s: %w", name, ErrUnavailable)
	}
	return value, nil
}
