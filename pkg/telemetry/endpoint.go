package telemetry

import "strings"

// endpoints are the path segments that name an endpoint of CouchDB's HTTP API.
// Databases may begin with an underscore too (_users, _replicator), and so may
// the base path of a gateway: what is not listed here is not taken for one.
var endpoints = segmentSet(`_active_tasks _all_dbs _all_docs _bulk_docs _bulk_get
	_changes _cluster_setup _compact _db_updates _dbs_info _design _design_docs
	_ensure_full_commit _explain _find _index _local _local_docs _membership
	_missing_revs _node _partition _purge _purged_infos_limit _replicate
	_revs_diff _revs_limit _scheduler _security _session _shards _stats
	_sync_shards _up _utils _uuids _view_cleanup`)

// designFunctions follow the name of a design document.
var designFunctions = segmentSet(`_info _list _nouveau _nouveau_info _rewrite _search
	_search_info _show _update _view`)

func segmentSet(names string) map[string]bool {
	set := make(map[string]bool)
	for _, n := range strings.Fields(names) {
		set[n] = true
	}
	return set
}

// requestName names a request's span. It holds no id of a document or database,
// so that a trace back end can group by it.
func requestName(method, escapedPath string) string {
	return method + " " + endpointKind(escapedPath)
}

// endpointKind is the endpoint's name ("_bulk_docs"), or what the path leads to
// ("{db}", "{doc}", "{doc}/{attachment}"). Those last are guessed from the
// number of segments: below a base path they are one too deep.
func endpointKind(escapedPath string) string {
	segments := strings.Split(strings.Trim(escapedPath, "/"), "/")
	for i, s := range segments {
		if endpoints[s] {
			return namedEndpoint(s, segments[i+1:])
		}
	}
	switch {
	case segments[0] == "":
		return "/"
	case len(segments) == 1:
		return "{db}"
	case len(segments) == 2:
		return "{doc}"
	default:
		return "{doc}/{attachment}"
	}
}

func namedEndpoint(name string, rest []string) string {
	switch {
	case name == "_local" && len(rest) > 0:
		return "_local/{doc}"
	case name == "_scheduler" && len(rest) > 0 && (rest[0] == "jobs" || rest[0] == "docs"):
		return "_scheduler/" + rest[0]
	case name != "_design" || len(rest) == 0:
		return name
	case len(rest) == 1:
		return "_design/{doc}"
	case designFunctions[rest[1]]:
		return "_design/{doc}/" + rest[1]
	default:
		return "_design/{doc}/{attachment}"
	}
}
