package millpond

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// methods are the handlers of one resource.
type methods map[string]handler

// pick finds the handler of a method; HEAD is a GET without its body.
func (m methods) pick(method string) (handler, error) {
	if h, ok := m[method]; ok {
		return h, nil
	}
	if h, ok := m[http.MethodGet]; ok && method == http.MethodHead {
		return h, nil
	}
	allowed := slices.Collect(maps.Keys(m))
	if _, ok := m[http.MethodGet]; ok {
		allowed = append(allowed, http.MethodHead)
	}
	slices.Sort(allowed)
	return nil, methodNotAllowed(allowed...)
}

var (
	serverRoutes = map[string]methods{
		"_all_dbs":    {http.MethodGet: (*call).allDBs},
		"_db_updates": {http.MethodGet: (*call).dbUpdates},
		"_session": {
			http.MethodGet: (*call).showSession, http.MethodPost: (*call).login,
			http.MethodDelete: (*call).logout,
		},
		"_up":    {http.MethodGet: (*call).up},
		"_uuids": {http.MethodGet: (*call).listUUIDs},
	}
	welcomeRoutes  = methods{http.MethodGet: (*call).welcome}
	databaseRoutes = methods{
		http.MethodGet: (*call).showDB, http.MethodDelete: (*call).deleteDB,
		http.MethodPost: (*call).postDoc,
	}
	collectionRoutes = map[string]methods{
		"_all_docs":           {http.MethodGet: (*call).allDocs, http.MethodPost: (*call).allDocs},
		"_bulk_docs":          {http.MethodPost: (*call).bulkDocs},
		"_bulk_get":           {http.MethodPost: (*call).bulkGet},
		"_changes":            {http.MethodGet: (*call).changes, http.MethodPost: (*call).changes},
		"_compact":            {http.MethodPost: (*call).compact},
		"_ensure_full_commit": {http.MethodPost: (*call).ensureFullCommit},
		"_local_docs":         {http.MethodGet: (*call).localDocs},
		"_missing_revs":       {http.MethodPost: (*call).missingRevs},
		"_purge":              {http.MethodPost: (*call).purge},
		"_revs_diff":          {http.MethodPost: (*call).revsDiff},
		"_revs_limit":         {http.MethodGet: (*call).revsLimit, http.MethodPut: (*call).setRevsLimit},
		"_security":           {http.MethodGet: (*call).security, http.MethodPut: (*call).setSecurity},
	}
	documentRoutes = methods{
		http.MethodGet: (*call).getDoc, http.MethodPut: (*call).putDoc,
		http.MethodDelete: (*call).deleteDoc,
	}
	localRoutes = methods{
		http.MethodGet: (*call).getLocal, http.MethodPut: (*call).putDoc,
		http.MethodDelete: (*call).deleteLocal,
	}
	attachmentRoutes = methods{
		http.MethodGet: (*call).getAttachment, http.MethodPut: (*call).putAttachment,
		http.MethodDelete: (*call).deleteAttachment,
	}
)

// route finds the handler of a request, and opens the database it is about.
func (c *call) route() (handler, error) {
	if len(c.parts) == 0 {
		return welcomeRoutes.pick(c.r.Method)
	}
	if m, ok := serverRoutes[c.parts[0]]; ok && len(c.parts) == 1 {
		return m.pick(c.r.Method)
	}
	c.name = c.parts[0]
	if len(c.parts) == 1 && c.r.Method == http.MethodPut {
		return (*call).createDB, nil
	}
	var err error
	if c.db, err = c.server.store.Open(c.r.Context(), c.name); err != nil {
		return nil, err
	}
	c.db = announced{Database: c.db, server: c.server, name: c.name}
	if err := c.authorizeDatabase(); err != nil {
		return nil, err
	}
	if len(c.parts) == 1 {
		return databaseRoutes.pick(c.r.Method)
	}
	return c.routeInDB()
}

// routeInDB finds the handler for what follows the database's name. The slash of
// _design/x and _local/x may be escaped or not; c.parts[1] is the whole id after.
func (c *call) routeInDB() (handler, error) {
	if m, ok := collectionRoutes[c.parts[1]]; ok && len(c.parts) == 2 {
		return m.pick(c.r.Method)
	}
	if prefix := c.parts[1]; (prefix == "_design" || prefix == "_local") && len(c.parts) > 2 {
		c.parts = append([]string{c.parts[0], prefix + "/" + c.parts[2]}, c.parts[3:]...)
	}
	if strings.HasPrefix(c.parts[1], localPrefix) || c.parts[1] == "_local" {
		return c.routeLocal()
	}
	if len(c.parts) > 2 {
		return attachmentRoutes.pick(c.r.Method)
	}
	return documentRoutes.pick(c.r.Method)
}

func (c *call) routeLocal() (handler, error) {
	switch {
	case c.parts[1] == "_local", c.parts[1] == localPrefix:
		return nil, badRequest("Invalid _local document id.")
	case len(c.parts) > 2:
		return nil, badRequest("_local documents do not accept attachments.")
	}
	return localRoutes.pick(c.r.Method)
}
