package millpond

import (
	"net/http"
	"slices"

	"github.com/go-json-experiment/json"
)

// grants is a database's _security, as far as it decides anything.
type grants struct {
	Admins  grant `json:"admins"`
	Members grant `json:"members"`
}

type grant struct {
	Names []string `json:"names"`
	Roles []string `json:"roles"`
}

func (g grant) includes(u user) bool {
	if u.name != "" && slices.Contains(g.Names, u.name) {
		return true
	}
	return slices.ContainsFunc(u.roles, func(role string) bool {
		return role == adminRole || slices.Contains(g.Roles, role)
	})
}

// public: without any members a database is open to everybody.
func (g grants) public() bool { return len(g.Members.Names) == 0 && len(g.Members.Roles) == 0 }

func (c *call) grants() (grants, error) {
	var g grants
	object, err := securityOf(c.r.Context(), c.db)
	if err != nil {
		return g, err
	}
	if err := json.Unmarshal(object, &g, scanOptions); err != nil {
		return g, errSecurity
	}
	return g, nil
}

// CouchDB refuses whoever is not an administrator with 401, logged in or not.
var (
	errNotServerAdmin = newError(http.StatusUnauthorized, "unauthorized", "You are not a server admin.")
	errSecurity       = newError(http.StatusInternalServerError, "error", "no_majority") // of an object that has another form
	errNotAnyAdmin    = newError(http.StatusUnauthorized, "unauthorized", "You are not a server or db admin.")
	errReadOnly       = newError(http.StatusForbidden, "forbidden", "_writer access is required for this request")
)

// denied refuses a user at a database: strangers with 401, others with 403.
func (u user) denied(reason string) *Error {
	if u.name == "" {
		return newError(http.StatusUnauthorized, "unauthorized", reason)
	}
	return newError(http.StatusForbidden, "forbidden", reason)
}

func (u user) deniedDatabase() *Error {
	if u.name == "" {
		return u.denied("You are not authorized to access this db.")
	}
	return u.denied("You are not allowed to access this db.")
}

// notDatabaseAdmin refuses what only administrators of the database may do.
func (u user) notDatabaseAdmin() *Error { return u.denied("You are not a db or server admin.") }

// authorizeServer decides who may do what outside of databases, and with databases
// as a whole.
func (c *call) authorizeServer() error {
	if c.user.admin() {
		return nil
	}
	switch {
	case len(c.parts) == 0:
		return nil
	case c.parts[0] == "_all_dbs", c.parts[0] == "_db_updates":
		return errNotServerAdmin
	case len(c.parts) == 1 && (c.r.Method == http.MethodPut || c.r.Method == http.MethodDelete) && c.parts[0] != "_session":
		return errNotServerAdmin
	case len(c.parts) == 2 && c.parts[1] == "_purge":
		return errNotServerAdmin
	}
	return nil
}

// authorizeDatabase decides who may do what in a database, which is open. Design
// documents are for administrators: see editor.write.
func (c *call) authorizeDatabase() error {
	if c.user.admin() {
		c.dbAdmin = true
		return nil
	}
	g, err := c.grants()
	if err != nil {
		return err
	}
	c.dbAdmin = g.Admins.includes(c.user)
	if !c.dbAdmin && !g.public() && !g.Members.includes(c.user) {
		return c.user.deniedDatabase()
	}
	if c.user.readOnly && c.writes() {
		return errReadOnly
	}
	if c.dbAdmin || len(c.parts) != 2 {
		return nil
	}
	switch {
	case c.parts[1] == "_compact":
		return errNotAnyAdmin
	case c.r.Method == http.MethodPut && (c.parts[1] == "_security" || c.parts[1] == "_revs_limit"):
		return c.user.notDatabaseAdmin()
	}
	return nil
}

// writes says whether a request would change something.
func (c *call) writes() bool {
	switch c.r.Method {
	case http.MethodPut, http.MethodDelete:
		return true
	case http.MethodPost:
		return len(c.parts) == 1 || c.parts[1] == "_bulk_docs"
	}
	return false
}
