package millpond

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
)

// maxUUIDs is CouchDB's limit of GET /_uuids?count=.
const maxUUIDs = 1000

// welcome answers GET /.
func (c *call) welcome() error {
	return c.json(http.StatusOK, fmt.Appendf(nil,
		`{"couchdb":"Welcome","version":%q,"uuid":%q,"features":["access-ready"],"vendor":{"name":"Millpond"}}`,
		c.server.opts.Version, c.server.opts.UUID))
}

// up answers GET /_up.
func (c *call) up() error {
	return c.json(http.StatusOK, []byte(`{"status":"ok","seeds":{}}`))
}

// allDBs answers GET /_all_dbs.
func (c *call) allDBs() error {
	names, err := c.server.store.Names(c.r.Context())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, appendStrings(nil, names))
}

// listUUIDs answers GET /_uuids.
func (c *call) listUUIDs() error {
	count := 1
	if text := c.query.Get("count"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return badRequest("count must be a non-negative integer")
		}
		count = n
	}
	if count > maxUUIDs {
		return badRequest("count parameter too large")
	}
	ids := make([]string, count)
	for i := range ids {
		ids[i] = c.server.uuids.next()
	}
	body := appendStrings([]byte(`{"uuids":`), ids)
	return c.json(http.StatusOK, append(body, '}'))
}

// uuids makes ids that sort by age, like CouchDB's "sequential" algorithm.
type uuids struct {
	mu     sync.Mutex
	prefix string // 26 hex digits
	n      uint32
}

// perPrefix is how many ids share a prefix.
const perPrefix = 0xfff000

func (u *uuids) next() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.n >= perPrefix {
		u.prefix, u.n = randomHex(13), 0
	}
	u.n++
	return fmt.Sprintf("%s%06x", u.prefix, u.n)
}
