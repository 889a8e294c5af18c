package chaosproxy_test

import (
	"net/http/httptest"
	"testing"

	"millrace/e2e/chaosproxy"
)

func TestClassifyKnowsTheKindsOfRequests(t *testing.T) {
	for path, want := range map[string]chaosproxy.Endpoint{
		"/":                          chaosproxy.Server,
		"/_all_dbs":                  "_all_dbs",
		"/_session":                  chaosproxy.Session,
		"/db":                        chaosproxy.Database,
		"/db/":                       chaosproxy.Database,
		"/a%2Fb":                     chaosproxy.Database,
		"/_users":                    chaosproxy.Database,
		"/_replicator/x":             chaosproxy.Document,
		"/db/_changes?since=0":       chaosproxy.Changes,
		"/a%2Fb/_bulk_docs":          chaosproxy.BulkDocs,
		"/db/_local/abc":             chaosproxy.Local,
		"/db/x":                      chaosproxy.Document,
		"/db/a%2Fb":                  chaosproxy.Document,
		"/db/x/att":                  chaosproxy.Attachment,
		"/db/x/a/b/c":                chaosproxy.Attachment,
		"/db/_design/d":              chaosproxy.Document,
		"/db/_design%2Fd":            chaosproxy.Document,
		"/db/_design/d/att":          chaosproxy.Attachment,
		"/db/_design%2fd/att":        chaosproxy.Attachment,
		"/db/_design/d/_view/v":      "_view",
		"/db/_partition/p/_all_docs": "_partition",
	} {
		if got := chaosproxy.Classify(httptest.NewRequest("GET", path, nil)); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}
