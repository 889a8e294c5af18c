package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"

	"millrace/pkg/couch"
	"millrace/pkg/credential"
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
func netrcLogins(ep couch.Endpoint, path string) (logins []login, err error) {
	u, err := url.Parse(ep.URL)
	if err != nil {
		return nil, couch.ErrBadEndpoint
	}
	named := path != ""
	text, err := os.ReadFile(cmp.Or(path, credential.NetrcFile()))
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read netrc file: %w", err)
	}
	entries, err := credential.ParseNetrc(string(text), u.Hostname())
	for _, l := range entries {
		logins = append(logins, login{user: l.User, password: l.Password})
	}
	return logins, err
}
