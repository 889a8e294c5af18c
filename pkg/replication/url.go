package replication

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// address is a URL taken apart as typed, because the replication id is made of
// the parts as typed.
type address struct {
	scheme   string
	userinfo string // raw, without the @; see hasUser
	hasUser  bool
	host     string // without brackets
	port     int    // 0 when none was given
	bracket  bool   // the host is an IPv6 address
	tail     string // path and query
}

// parseAddress reads a URL of one of the schemes. What it refuses, CouchDB
// refuses or could never reach; false then.
func parseAddress(raw string, schemes ...string) (address, bool) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok || !oneOf(scheme, schemes) || !onlyURLCharacters(raw) {
		return address{}, false
	}
	if _, err := url.Parse(raw); err != nil {
		return address{}, false
	}
	a := address{scheme: scheme}
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, a.tail = rest[:i], rest[i:]
	}
	if user, host, found := strings.Cut(authority, "@"); found {
		a.userinfo, a.hasUser, authority = user, true, host
	}
	return a, a.setHost(authority) && !strings.ContainsAny(a.tail, "[]")
}

func (a *address) setHost(authority string) bool {
	host, port, hasPort := strings.Cut(authority, ":")
	if strings.HasPrefix(authority, "[") {
		end := strings.IndexByte(authority, ']')
		if end < 0 {
			return false
		}
		host, a.bracket = authority[1:end], true
		port, hasPort = strings.CutPrefix(authority[end+1:], ":")
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is6() || !hasPort && port != "" {
			return false
		}
	}
	a.host = host
	if host == "" || !a.bracket && strings.ContainsAny(host, "[]@") {
		return false
	}
	return !hasPort || a.setPort(port)
}

func (a *address) setPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	a.port = int(n)
	return err == nil && n > 0
}

// withoutUser is the URL without credentials.
func (a address) withoutUser() string {
	host := a.host
	if a.bracket {
		host = "[" + host + "]"
	}
	if a.port != 0 {
		host += ":" + strconv.Itoa(a.port)
	}
	return a.scheme + "://" + host + a.tail
}

// path is what the replication id takes as path.
func (a address) path() string {
	if strings.HasPrefix(a.tail, "/") {
		return a.tail
	}
	return "/" + a.tail
}

// defaultPort reports a port that the replication id leaves out, so that a job
// keeps its checkpoints when its endpoints move to TLS.
func (a address) defaultPort() bool {
	switch a.port {
	case 0:
		return true
	case 80, 5984:
		return a.scheme == "http"
	case 443:
		return a.scheme == "https"
	}
	return false
}

// onlyURLCharacters reports that s has the characters of RFC 3986 only, and no
// fragment, which means nothing to a database.
func onlyURLCharacters(s string) bool {
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~:/?[]@!$&'()*+,;=%", c) >= 0:
		default:
			return false
		}
	}
	return true
}

func oneOf(s string, of []string) bool {
	for _, o := range of {
		if s == o {
			return true
		}
	}
	return false
}
