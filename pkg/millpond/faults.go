package millpond

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is something that goes wrong with the requests it matches. Its parts are
// applied in this order: Delay, DropBefore, Status, and around the real answer
// CutBodyAfter, StallBodyAfter or DropAfter.
type Fault struct {
	// Match chooses requests; nil matches all. It must be safe for concurrent use.
	Match func(*http.Request) bool
	// Times is how many requests it spoils before it is used up. Default 0: no end.
	Times int

	// Delay holds the request back. If the client goes away or the server is
	// closed meanwhile, nothing else happens.
	Delay time.Duration
	// DropBefore cuts the connection without having done anything.
	DropBefore bool
	// Status answers in place of the server, with Header and Body. 0: no answer
	// of its own.
	Status int
	Header http.Header
	Body   string
	// CutBodyAfter cuts the connection once that many bytes of the answer's body
	// were written. 0: not cut; negative: before the first byte, after the status.
	CutBodyAfter int
	// StallBodyAfter writes that many bytes of the answer's body and then nothing
	// more, until the client goes away or the server is closed. 0: no stall;
	// negative: before the first byte, after the status.
	StallBodyAfter int
	// DropAfter does what was asked, then cuts the connection without an answer:
	// the write happened, and the client does not know.
	DropAfter bool
	// Reset makes what cuts the connection reset it, as a peer does that has
	// forgotten it, in the place of closing it.
	Reset bool
}

// Inject adds a fault. Of several that match a request the oldest is applied.
// remove takes it out again.
func (s *Server) Inject(f Fault) (remove func()) {
	active := &activeFault{Fault: f}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.active = append(s.faults.active, active)
	return func() {
		s.faults.mu.Lock()
		defer s.faults.mu.Unlock()
		s.faults.active = slices.DeleteFunc(s.faults.active, func(a *activeFault) bool { return a == active })
	}
}

type activeFault struct {
	Fault
	used int
}

type faults struct {
	mu     sync.Mutex
	active []*activeFault
}

// take finds the fault for a request, and uses it up by one.
func (f *faults) take(r *http.Request) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.active {
		if a.Times > 0 && a.used >= a.Times || a.Match != nil && !a.Match(r) {
			continue
		}
		a.used++
		return a.Fault, true
	}
	return Fault{}, false
}

// serve answers a request by next, or as the fault that strikes it wants. closed
// ends delays.
func (f *faults) serve(w http.ResponseWriter, r *http.Request, closed <-chan struct{}, next func(http.ResponseWriter)) {
	fault, ok := f.take(r)
	if !ok {
		next(w)
		return
	}
	if fault.Delay > 0 && !wait(r, fault.Delay, closed) {
		panic(http.ErrAbortHandler)
	}
	switch {
	case fault.DropBefore:
		fault.cut(w)
	case fault.DropAfter:
		next(&discard{header: make(http.Header)})
		fault.cut(w)
	case fault.CutBodyAfter != 0:
		w = &cutter{ResponseWriter: w, left: max(fault.CutBodyAfter, 0), then: func() { fault.cut(w) }}
	case fault.StallBodyAfter != 0:
		w = &cutter{ResponseWriter: w, left: max(fault.StallBodyAfter, 0), then: func() { stall(r, closed) }}
	}
	if fault.Status != 0 {
		fault.answer(w)
		return
	}
	next(w)
}

func (f *Fault) answer(w http.ResponseWriter) {
	for name, values := range f.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	w.WriteHeader(f.Status)
	_, _ = w.Write([]byte(f.Body)) // the client is gone: nobody to tell
}

// cut ends the connection. It does not return.
func (f *Fault) cut(w http.ResponseWriter) {
	if f.Reset {
		reset(w)
	}
	panic(http.ErrAbortHandler)
}

// reset makes the connection's end a reset. Where it cannot be had (HTTP/2) it is
// closed only.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // it is to be gone, either way
	}
	_ = conn.Close()
}

// stall waits until there is nobody to answer any more. It does not return.
func stall(r *http.Request, closed <-chan struct{}) {
	select {
	case <-r.Context().Done():
	case <-closed:
	}
	panic(http.ErrAbortHandler)
}

// wait waits, and says whether the client and the server are still there. It
// reads the body first: net/http notices that a client left only after that.
func wait(r *http.Request, d time.Duration, closed <-chan struct{}) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	case <-closed:
		return false
	}
}

// cutter stops once enough of the body was written.
type cutter struct {
	http.ResponseWriter
	left int
	then func() // what happens then; does not return
}

func (c *cutter) Write(p []byte) (int, error) {
	if len(p) < c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	c.then()
	return 0, nil
}

// Unwrap lets http.ResponseController reach the real writer.
func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// discard is an answer that nobody gets.
type discard struct {
	header http.Header
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(int)             {}

// Matching is a Fault.Match for a method ("" for all) and the end of the path,
// such as "/_bulk_docs".
func Matching(method, pathSuffix string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return (method == "" || r.Method == method) && strings.HasSuffix(r.URL.Path, pathSuffix)
	}
}

// After narrows a Fault.Match to the requests after the first n that match.
func After(n int, match func(*http.Request) bool) func(*http.Request) bool {
	var mu sync.Mutex
	seen := 0
	return func(r *http.Request) bool {
		if !match(r) {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		seen++
		return seen > n
	}
}

// Mentioning narrows a Fault.Match to the requests that have a text in their path
// or body: those that ask for, or bring, a document that the server cannot stand.
func Mentioning(text string, match func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool {
		if !match(r) {
			return false
		}
		if strings.Contains(r.URL.Path, text) {
			return true
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			body = nil // the handler will meet the error again
		}
		r.Body = readAgain{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
		return bytes.Contains(body, []byte(text))
	}
}

// readAgain is a body of which a part was read already.
type readAgain struct {
	io.Reader
	io.Closer
}

// Faster narrows a Fault.Match to the requests beyond n in a second: what a rate
// limit refuses, with 429 as a rule. A refused request counts against nothing. now
// is the clock; nil is time.Now.
func Faster(n int, now func() time.Time, match func(*http.Request) bool) func(*http.Request) bool {
	if now == nil {
		now = time.Now
	}
	var mu sync.Mutex
	var passed []time.Time // in the last second
	return func(r *http.Request) bool {
		if !match(r) {
			return false
		}
		mu.Lock()
		defer mu.Unlock()
		t := now()
		passed = slices.DeleteFunc(passed, func(p time.Time) bool { return t.Sub(p) >= time.Second })
		if len(passed) >= n {
			return true
		}
		passed = append(passed, t)
		return false
	}
}

// AnyOf is a Fault.Match for what one of several matches.
func AnyOf(matches ...func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool {
		return slices.ContainsFunc(matches, func(match func(*http.Request) bool) bool { return match(r) })
	}
}
