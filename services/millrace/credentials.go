package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/jdx/go-netrc"

	"millrace/pkg/couch"
)

// resolveEndpoint reads a URL of the command line and finds the credentials for it: in
// the URL itself; else in the environment, MILLRACE_<role>_USER and
// MILLRACE_<role>_PASSWORD; else in the netrc file at netrcPath, which defaults to
// $NETRC or ~/.netrc. Only a file that was named in netrcPath has to exist. A URL
// with a user and no password takes a password of that user only. No error
// contains a credential (invariant 9).
func resolveEndpoint(role, arg, netrcPath string) (couch.Endpoint, error) {
	ep, err := couch.ParseEndpoint(arg)
	if err != nil || ep.Password != "" {
		return ep, err
	}
	if login, ok := environmentLogin(role); ok && login.fits(ep) {
		return login.into(ep), nil
	}
	logins, err := netrcLogins(ep, netrcPath)
	if err != nil {
		return couch.Endpoint{}, err
	}
	for _, login := range logins {
		if login.fits(ep) {
			return login.into(ep), nil
		}
	}
	return ep, nil
}

// login is a user and a password. The user may be left to the URL.
type login struct {
	user, password string
}

func (l login) fits(ep couch.Endpoint) bool {
	if l.user == "" {
		return ep.Username != ""
	}
	return ep.Username == "" || ep.Username == l.user
}

func (l login) into(ep couch.Endpoint) couch.Endpoint {
	if ep.Username == "" {
		ep.Username = l.user
	}
	ep.Password = l.password
	return ep
}

func environmentLogin(role string) (login, bool) {
	l := login{user: os.Getenv("MILLRACE_" + role + "_USER"), password: os.Getenv("MILLRACE_" + role + "_PASSWORD")}
	return l, l != login{}
}

// netrcLogins are the file's entries for the endpoint's host, and behind them its default.
func netrcLogins(ep couch.Endpoint, path string) ([]login, error) {
	u, err := url.Parse(ep.URL)
	if err != nil {
		return nil, couch.ErrBadEndpoint
	}
	text, err := readNetrc(path)
	if err != nil || text == "" {
		return nil, err
	}
	machines, err := parseNetrc(text)
	if err != nil {
		return nil, err
	}
	var logins, byDefault []login
	for _, m := range machines {
		l := login{user: m.Get("login"), password: m.Get("password")}
		switch {
		case l.user == "":
		case m.IsDefault:
			byDefault = append(byDefault, l)
		case m.Name == u.Hostname():
			logins = append(logins, l)
		}
	}
	return append(logins, byDefault...), nil
}

func readNetrc(path string) (string, error) {
	named := path != ""
	if path == "" {
		path = os.Getenv("NETRC")
	}
	if path == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", nil // an account without a home has no file there
		}
		path = filepath.Join(home, ".netrc")
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return "", nil
	case err != nil:
		return "", fmt.Errorf("read netrc file: %w", err)
	}
	return string(text), nil
}

var errNetrc = errors.New("the netrc file ends in the middle of an entry")

// parseNetrc keeps the library from panicking at a file that ends in an entry.
func parseNetrc(text string) (machines netrc.Machines, err error) {
	defer func() {
		if recover() != nil {
			err = errNetrc
		}
	}()
	file, err := netrc.ParseString(text)
	if err != nil {
		return nil, fmt.Errorf("netrc file: %w", err)
	}
	return file.Machines(), nil
}
