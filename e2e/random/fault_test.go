package random

import (
	"net/http"
	"time"

	"pgregory.net/rapid"

	"millrace/e2e/chaosproxy"
)

// endpoints are the requests that fail; the empty one is any of them.
var endpoints = []chaosproxy.Endpoint{
	"", chaosproxy.Changes, chaosproxy.RevsDiff, chaosproxy.BulkGet, chaosproxy.BulkDocs, chaosproxy.Local,
	chaosproxy.Document, chaosproxy.Attachment,
}

// trouble is how they fail. What hangs holds its request for the connection timeout.
func trouble(t *rapid.T) chaosproxy.Action {
	n := int64(rapid.SampledFrom([]int{0, 1, 100, 1_000, 20_000}).Draw(t, "after"))
	switch rapid.IntRange(0, 9).Draw(t, "trouble") {
	case 0:
		return chaosproxy.TooManyRequests(1)
	case 1:
		return chaosproxy.ServerError(http.StatusTooManyRequests)
	case 2:
		return chaosproxy.ServerError(http.StatusInternalServerError)
	case 3:
		return chaosproxy.ServerError(http.StatusServiceUnavailable)
	case 4:
		return chaosproxy.ServerError(http.StatusRequestTimeout)
	case 5:
		return chaosproxy.CutAnswer(n)
	case 6:
		return chaosproxy.CutRequest(n)
	case 7:
		return chaosproxy.DropAnswer()
	case 8:
		return chaosproxy.HangAnswer(n)
	default:
		return chaosproxy.Delay(100 * time.Millisecond)
	}
}

// fail makes some of the next requests to one of the servers fail.
func fail(t *rapid.T, s *side) *chaosproxy.Active {
	rule := chaosproxy.Rule{Times: rapid.IntRange(1, 4).Draw(t, "times"), Do: trouble(t)}
	if at := rapid.SampledFrom(endpoints).Draw(t, "endpoint"); at != "" {
		rule.Match = chaosproxy.On(at)
	}
	return s.proxy.Add(rule)
}
