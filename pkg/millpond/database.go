package millpond

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"

	"github.com/go-json-experiment/json"
)

var databaseName = regexp.MustCompile(`^[a-z][a-z0-9_$()+/-]*$`)

// maxDatabaseName is CouchDB's limit of a database name's length.
const maxDatabaseName = 238

// systemDatabase lists the names that CouchDB allows beside its rule.
func systemDatabase(name string) bool {
	return name == "_users" || name == "_replicator" || name == globalChanges
}

func checkDatabaseName(name string) error {
	if !databaseName.MatchString(name) && !systemDatabase(name) {
		return newError(
			http.StatusBadRequest, "illegal_database_name",
			"Name: '"+name+"'. Only lowercase characters (a-z), digits (0-9), and any of the characters "+
				"_, $, (, ), +, -, and / are allowed. Must begin with a letter.",
		)
	}
	if len(name) > maxDatabaseName {
		return newError(
			http.StatusBadRequest, "database_name_too_long",
			"At least one path segment of `"+name+"` is too long.",
		)
	}
	return nil
}

// createDB answers PUT /db.
func (c *call) createDB() error {
	if err := checkDatabaseName(c.name); err != nil {
		return err
	}
	if err := c.server.store.Create(c.r.Context(), c.name); err != nil {
		return err
	}
	c.server.validators.forget(c.name)
	if err := c.server.announce(c.r.Context(), "created", c.name); err != nil {
		return err
	}
	c.setLocation()
	return c.ok(http.StatusCreated)
}

// setLocation points at something in the database, or at itself.
func (c *call) setLocation(parts ...string) {
	location := "http://" + c.r.Host + "/" + url.PathEscape(c.name)
	for _, part := range parts {
		location += "/" + url.PathEscape(part)
	}
	c.w.Header().Set("Location", location)
}

// deleteDB answers DELETE /db.
func (c *call) deleteDB() error {
	if c.query.Has("rev") {
		return badRequest("You tried to DELETE a database with a ?rev= parameter. Did you mean to DELETE a document instead?")
	}
	if err := c.server.store.Delete(c.r.Context(), c.name); err != nil {
		return err
	}
	if err := c.server.announce(c.r.Context(), "deleted", c.name); err != nil {
		return err
	}
	return c.ok(http.StatusOK)
}

// showDB answers GET /db.
func (c *call) showDB() error {
	info, err := c.db.Info(c.r.Context())
	if err != nil {
		return err
	}
	seqs := newSeqFormat(c.server, c.name, info.Instance)
	body := fmt.Appendf(nil, `{"instance_start_time":%q,"db_name":`, info.Instance)
	body = appendString(body, c.name)
	body = append(body, `,"purge_seq":`...)
	body = seqs.append(body, info.Purges)
	body = append(body, `,"update_seq":`...)
	body = seqs.append(body, info.Seq)
	body = fmt.Appendf(body, `,"sizes":{"file":%[1]d,"external":%[1]d,"active":%[1]d},"props":{},`+
		`"doc_del_count":%[2]d,"doc_count":%[3]d,"disk_format_version":8,"compact_running":false,`+
		`"cluster":{"q":1,"n":1,"w":1,"r":1}}`, info.Bytes, info.Deleted, info.Docs)
	return c.json(http.StatusOK, body)
}

// ensureFullCommit answers POST /db/_ensure_full_commit. There is nothing to
// commit; a replicator reads the instance from it.
func (c *call) ensureFullCommit() error {
	if _, err := c.jsonBody(); err != nil {
		return err
	}
	info, err := c.db.Info(c.r.Context())
	if err != nil {
		return err
	}
	return c.json(http.StatusCreated, fmt.Appendf(nil, `{"ok":true,"instance_start_time":%q}`, info.Instance))
}

// compact answers POST /db/_compact.
func (c *call) compact() error {
	if _, err := c.jsonBody(); err != nil {
		return err
	}
	if err := c.db.Compact(c.r.Context()); err != nil {
		return err
	}
	return c.ok(http.StatusAccepted)
}

// revsLimit answers GET /db/_revs_limit.
func (c *call) revsLimit() error {
	info, err := c.db.Info(c.r.Context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, strconv.AppendInt(nil, int64(info.RevsLimit), 10))
}

// setRevsLimit answers PUT /db/_revs_limit.
func (c *call) setRevsLimit() error {
	body, err := c.body()
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(string(body))
	if err != nil || limit < 1 {
		return badRequest("Revs limit must be a positive integer")
	}
	if err := c.db.SetRevsLimit(c.r.Context(), limit); err != nil {
		return err
	}
	return c.ok(http.StatusOK)
}

// defaultSecurity is CouchDB's security object of a new database.
const defaultSecurity = `{"members":{"roles":["_admin"]},"admins":{"roles":["_admin"]}}`

// security answers GET /db/_security.
func (c *call) security() error {
	object, err := securityOf(c.r.Context(), c.db)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, append([]byte(nil), object...))
}

// securityOf is a database's security object. It must not be changed.
func securityOf(ctx context.Context, db Database) ([]byte, error) {
	object, err := db.Security(ctx)
	if err == nil && object == nil {
		object = []byte(defaultSecurity)
	}
	return object, err
}

// setSecurity answers PUT /db/_security.
func (c *call) setSecurity() error {
	body, err := c.body()
	if err != nil {
		return err
	}
	if err := eachMember(body, all, func(member) error { return nil }); err != nil {
		return err
	}
	if err := json.Unmarshal(body, new(grants), scanOptions); err != nil {
		return errSecurity
	}
	if err := c.db.SetSecurity(c.r.Context(), body); err != nil {
		return err
	}
	return c.ok(http.StatusOK)
}
