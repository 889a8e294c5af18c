package credential

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jdx/go-netrc"
)

// Login is an entry of a netrc file.
type Login struct {
	User, Password string
	// Default: the entry is for every host that has none.
	Default bool
}

// Login finds the user and the password for a host in the site's netrc file, or in the
// one at path if the site allows that. Entries are for one host each: they are not used on a
// [Use].Detour, nor is the file's default for all hosts, unless everything is allowed.
func (r Rules) Login(path, user string, use Use) (Login, error) {
	if path == "" {
		path = r.Netrc
	}
	if path == "" {
		return Login{}, fmt.Errorf("netrc: %w", ErrNotAllowed)
	}
	var text string
	var err error
	if path == r.Netrc {
		text, err = readRegular(path, os.Stat, os.Open)
	} else {
		text, err = r.file(path, use)
	}
	if err != nil {
		return Login{}, fmt.Errorf("netrc: %w", err)
	}
	logins, err := ParseNetrc(text, use.Host)
	if err != nil {
		return Login{}, err
	}
	for _, l := range logins {
		if (user == "" || l.User == user) && (r.Any || !l.Default && !use.Detour) {
			return l, nil
		}
	}
	return Login{}, fmt.Errorf("netrc: %w: no entry for %s", ErrUnavailable, use.Host)
}

// NetrcFile is where a user's netrc file is: $NETRC, or ~/.netrc; empty for an account without a home.
func NetrcFile() string {
	if path := os.Getenv("NETRC"); path != "" {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".netrc")
}

// ErrNetrc is returned for a netrc file that ends in the middle of an entry.
var ErrNetrc = errors.New("the netrc file ends in the middle of an entry")

// ParseNetrc returns the entries for a host, and behind them the default.
func ParseNetrc(text, host string) ([]Login, error) {
	machines, err := machines(text)
	if err != nil {
		return nil, err
	}
	var logins, byDefault []Login
	for _, m := range machines {
		l := Login{User: m.Get("login"), Password: m.Get("password"), Default: m.IsDefault}
		switch {
		case l.User == "":
		case m.IsDefault:
			byDefault = append(byDefault, l)
		case m.Name == host:
			logins = append(logins, l)
		}
	}
	return append(logins, byDefault...), nil
}

// machines keeps the library from panicking at a file that ends in an entry.
func machines(text string) (machines netrc.Machines, err error) {
	defer func() {
		if recover() != nil {
			err = ErrNetrc
		}
	}()
	file, err := netrc.ParseString(text)
	if err != nil {
		return nil, fmt.Errorf("netrc file: %w", err)
	}
	return file.Machines(), nil
}
