package broker

import (
	"errors"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
)

// errUnreadableURL says nothing of the URL: what net/url finds wrong with one is often a
// piece of a password (invariant 9).
var errUnreadableURL = errors.New("unreadable URL: in a user, password or token write other characters than letters and digits as %XX")

// parseURL reads one server's URL, with or without a scheme, as the client library does.
func parseURL(one string) (*url.URL, error) {
	one = strings.TrimSpace(one)
	if !strings.Contains(one, "://") {
		one = "nats://" + one
	}
	u, err := url.Parse(one)
	// An @ behind the host is the end of a password in which something should have been
	// written as %XX: what looks like the host is then the beginning of it.
	if err != nil || u.Host == "" || strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
		return nil, errUnreadableURL
	}
	return u, nil
}

// checkURL says whether each of the URLs, separated by commas, can be read.
func checkURL(urls string) error {
	if urls == "" {
		return nil
	}
	for one := range strings.SplitSeq(urls, ",") {
		if _, err := parseURL(one); err != nil {
			return err
		}
	}
	return nil
}

// redactURL shows where a connection goes and hides who makes it (invariant 9).
func redactURL(urls string) string {
	if urls == "" {
		return nats.DefaultURL
	}
	var shown []string
	for one := range strings.SplitSeq(urls, ",") {
		u, err := parseURL(one)
		if err != nil {
			shown = append(shown, "(unreadable URL)")
			continue
		}
		shown = append(shown, u.Scheme+"://"+u.Host)
	}
	return strings.Join(shown, ",")
}
