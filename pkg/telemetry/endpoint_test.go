package telemetry

import "testing"

func TestRequestNameIsMethodAndEndpointKind(t *testing.T) {
	cases := map[string]string{
		"/":                             "/",
		"":                              "/",
		"/db":                           "{db}",
		"/db/":                          "{db}",
		"/a%2Fb":                        "{db}",
		"/_users":                       "{db}",
		"/db/doc":                       "{doc}",
		"/a%2Fb/x%2Fy":                  "{doc}",
		"/_replicator/doc":              "{doc}",
		"/db/doc/att":                   "{doc}/{attachment}",
		"/db/doc/dir/att.txt":           "{doc}/{attachment}",
		"/db/_bulk_docs":                "_bulk_docs",
		"/couch/db/_bulk_docs":          "_bulk_docs",
		"/_replicator/_bulk_get":        "_bulk_get",
		"/db/_changes":                  "_changes",
		"/db/_local/abc":                "_local/{doc}",
		"/db/_local_docs":               "_local_docs",
		"/db/_design/x":                 "_design/{doc}",
		"/db/_design/x/_view/y":         "_design/{doc}/_view",
		"/db/_design/x/logo.png":        "_design/{doc}/{attachment}",
		"/_session":                     "_session",
		"/_scheduler/jobs":              "_scheduler/jobs",
		"/_scheduler/docs/_replicator":  "_scheduler/docs",
		"/_node/_local/_stats":          "_node",
		"/db/_partition/p/_all_docs":    "_partition",
		"/db/_secret_of_a_later_couch":  "{doc}",
		"/db/org.couchdb.user%3Ajoe%40": "{doc}",
	}
	for path, want := range cases {
		if got := requestName("GET", path); got != "GET "+want {
			t.Errorf("%s: %q, want GET %s", path, got, want)
		}
	}
}
