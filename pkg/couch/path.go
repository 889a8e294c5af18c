package couch

import (
	"net/url"
	"strings"
)

// escape writes a name as one segment of a path. Everything but unreserved
// characters is escaped: CouchDB reads a plus sign in a path as a space. The
// names "." and ".." are escaped too, because proxies resolve them.
func escape(name string) string {
	switch name {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}

// docPath is a document's path below its database. The slash behind _design and
// _local belongs to the path, all others to the id.
func docPath(id string) string {
	for _, prefix := range []string{"_design/", "_local/"} {
		if rest, ok := strings.CutPrefix(id, prefix); ok {
			return prefix + escape(rest)
		}
	}
	return escape(id)
}

// attachmentPath is an attachment's path below its database.
func attachmentPath(id, name string) string {
	return docPath(id) + "/" + escape(name)
}
