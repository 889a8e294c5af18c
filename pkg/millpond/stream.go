package millpond

import (
	"net/http"
)

// stream is an answer written in pieces, so that it is never in memory as a whole
// (invariant 5).
type stream struct {
	call  *call
	buf   []byte
	begun bool // the status is written
	gone  bool // the client went away
}

// stream begins a chunked answer with status 200, which goes with the first bytes.
func (c *call) stream(contentType string) *stream {
	c.w.Header().Set("Content-Type", contentType)
	return &stream{call: c}
}

// flushIfFull writes what was gathered once it is enough.
func (s *stream) flushIfFull() {
	if len(s.buf) >= flushAt {
		s.flush()
	}
}

// append gathers bytes, or writes them through if they are many.
func (s *stream) append(data []byte) {
	if len(data) < flushAt {
		s.buf = append(s.buf, data...)
		s.flushIfFull()
		return
	}
	s.flush()
	if s.gone {
		return
	}
	s.begun = true
	if _, err := s.call.w.Write(data); err != nil {
		s.gone = true
	}
}

// flush writes what was gathered.
func (s *stream) flush() {
	if len(s.buf) == 0 || s.gone {
		s.buf = s.buf[:0]
		return
	}
	s.begun = true
	if _, err := s.call.w.Write(s.buf); err != nil {
		s.gone = true
	}
	s.buf = s.buf[:0]
}

// send writes what was gathered and pushes it out to the client.
func (s *stream) send() {
	s.flush()
	s.begun = true
	_ = http.NewResponseController(s.call.w).Flush() // no flushing there: nothing to do
}

// abort cuts the connection: an answer that has begun has no other way to say
// that it failed. One that has not may still be an error, which abort then returns.
// That the client left is nobody's fault.
func (s *stream) abort(err error) error {
	if !s.begun && s.call.r.Context().Err() == nil && !s.gone {
		return err
	}
	if s.call.r.Context().Err() == nil && !s.gone {
		s.call.server.opts.Logger.Error("answer aborted", "path", s.call.r.URL.Path, "error", err)
	}
	panic(http.ErrAbortHandler)
}
