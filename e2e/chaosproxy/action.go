package chaosproxy

import (
	"net/http"
	"strconv"
	"time"
)

// Action is what happens to a request that a rule picks. Make one with the
// functions of this file; the zero Action passes the request on.
type Action struct {
	kind   actionKind
	bytes  int64         // cutRequest, cutAnswer, hangAnswer
	delay  time.Duration // delay
	status int           // reply
	header http.Header   // reply
	body   string        // reply
}

type actionKind int

const (
	pass actionKind = iota
	delay
	reply
	hang
	hangAnswer
	cutRequest
	cutAnswer
	dropAnswer
)

// Delay passes the request on after d. For the delay of a network see SetRTT.
func Delay(d time.Duration) Action { return Action{kind: delay, delay: d} }

// Reply answers in the server's place; the server does not see the request. The
// header may be nil.
func Reply(status int, header http.Header, body string) Action {
	return Action{kind: reply, status: status, header: header, body: body}
}

// ServerError answers status with an error in CouchDB's shape.
func ServerError(status int) Action {
	return Reply(status, http.Header{"Content-Type": {"application/json"}},
		`{"error":"`+http.StatusText(status)+`","reason":"chaosproxy"}`+"\n")
}

// TooManyRequests answers 429 with a Retry-After of that many seconds.
func TooManyRequests(retryAfter int) Action {
	a := ServerError(http.StatusTooManyRequests)
	a.header.Set("Retry-After", strconv.Itoa(retryAfter))
	return a
}

// Garbage answers 200 with a body that begins like JSON and is none, as a captive
// portal or a broken load balancer does.
func Garbage() Action {
	return Reply(http.StatusOK, http.Header{"Content-Type": {"application/json"}},
		`{"results":[{"seq":<html>502 Bad Gateway</html>`)
}

// Hang accepts the request and neither passes it on nor answers, until the rule
// is removed (then the connection is cut), the client gives up or the proxy closes.
func Hang() Action { return Action{kind: hang} }

// HangAnswer passes on the first n bytes of the answer's body and then nothing,
// with the same end as Hang.
func HangAnswer(n int64) Action { return Action{kind: hangAnswer, bytes: n} }

// CutRequest cuts both connections when n bytes of the request's body have passed:
// the server sees a truncated request.
func CutRequest(n int64) Action { return Action{kind: cutRequest, bytes: n} }

// CutAnswer cuts the client's connection after n bytes of the answer's body. The
// server has carried out the request. An answer of n bytes or fewer is cut at its
// end: it comes without the end that HTTP promises only if it was chunked.
func CutAnswer(n int64) Action { return Action{kind: cutAnswer, bytes: n} }

// DropAnswer passes the request on, waits for the whole answer and cuts the
// client's connection instead of passing it on: the write has happened, and the
// writer cannot know.
func DropAnswer() Action { return Action{kind: dropAnswer} }
