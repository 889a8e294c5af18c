package millpond

import (
	"crypto/subtle"
	"net/http"
	"slices"
)

// Account is a user of the server.
type Account struct {
	Password string
	// Roles are compared with those in a database's _security; "_admin" makes an
	// administrator of the server.
	Roles []string
	// ReadOnly refuses whatever would write, _local documents too, with 403:
	// CouchDB has no such users, but services and proxies in front of it have.
	ReadOnly bool
}

// user is who makes a request: how it was shown, and by what name.
type user struct {
	name     string // empty if nobody logged in
	method   string // "cookie" or "default" (Basic)
	roles    []string
	readOnly bool
}

const adminRole = "_admin"

func (u user) admin() bool { return slices.Contains(u.roles, adminRole) }

// account finds a user by name and password.
func (s *Server) account(name, password string) (user, bool) {
	known, ok := s.named(name)
	if name == "" || !ok || subtle.ConstantTimeCompare([]byte(password), []byte(known.Password)) != 1 {
		return user{}, false
	}
	return known.user(name), true
}

func (s *Server) named(name string) (Account, bool) {
	if name != "" && name == s.opts.AdminUser {
		return Account{Password: s.opts.AdminPassword, Roles: []string{adminRole}}, true
	}
	known, ok := s.opts.Users[name]
	return known, ok
}

func (a Account) user(name string) user {
	return user{name: name, roles: a.Roles, readOnly: a.ReadOnly}
}

// party says whether the server has no administrator: then everybody is one.
func (s *Server) party() bool { return s.opts.AdminUser == "" }

// authenticate finds out who is calling, as CouchDB does: by the cookie if there is
// a good one, else by name and password.
func (c *call) authenticate() error {
	found, err := c.cookieUser()
	if err != nil || found {
		return err
	}
	if name, password, ok := c.r.BasicAuth(); ok && !(c.server.party() && c.server.opts.Users == nil) {
		u, known := c.server.account(name, password)
		if !known {
			return errWrongPassword
		}
		c.user = u
		c.user.method = "default"
		return nil
	}
	if c.server.party() {
		c.user.roles = []string{adminRole}
		return nil
	}
	if c.server.opts.RequireValidUser && !c.logsIn() {
		return newError(http.StatusUnauthorized, "unauthorized", "Authentication required.")
	}
	return nil
}

// logsIn: everybody may try to.
func (c *call) logsIn() bool {
	return c.r.Method == http.MethodPost && len(c.parts) == 1 && c.parts[0] == "_session"
}

// cookieUser takes the user from the session's cookie, which is renewed once a
// tenth of its life is over. A cookie that has expired is as none.
func (c *call) cookieUser() (found bool, err error) {
	cookie, err := c.r.Cookie(cookieName)
	if err != nil || cookie.Value == "" {
		return false, nil
	}
	name, until, err := c.server.sessions.check(cookie.Value)
	if err != nil {
		return false, err
	}
	left := until.Sub(c.server.opts.Now())
	known, ok := c.server.named(name)
	if !ok || left <= 0 {
		return false, nil
	}
	c.user = known.user(name)
	c.user.method = "cookie"
	if life := c.server.opts.SessionLife; left < life-life/10 && !c.logsIn() {
		c.setCookie(c.server.sessions.issue(name, c.sessionEnd()))
	}
	return true, nil
}
