package couch

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// deaf is a server that breaks its first connection in the middle of a request and then
// reads requests whole before it says anything: it knows nothing of announcements.
type deaf struct {
	net.Listener
	group    sync.WaitGroup
	mu       sync.Mutex
	expected []string // what the requests that it answered expected
}

func serveDeaf(t *testing.T) *deaf {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &deaf{Listener: listener}
	d.group.Go(d.run)
	t.Cleanup(func() {
		_ = listener.Close() // ends run
		d.group.Wait()
	})
	return d
}

func (d *deaf) run() {
	for first := true; ; first = false {
		conn, err := d.Accept()
		if err != nil {
			return
		}
		d.group.Go(func() {
			defer func() { _ = conn.Close() }() // the client sees it, or is gone
			for d.answer(conn, bufio.NewReader(conn), first) {
			}
		})
	}
}

// answer answers one request, and reports whether there may be another.
func (d *deaf) answer(conn net.Conn, in *bufio.Reader, breaks bool) bool {
	r, err := http.ReadRequest(in)
	if err != nil || breaks {
		return false
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return false
	}
	d.mu.Lock()
	d.expected = append(d.expected, r.Header.Get("Expect"))
	d.mu.Unlock()
	_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
	return err == nil
}

func TestAnnouncedBodyIsSentToAServerThatDoesNotKnowOfAnnouncements(t *testing.T) {
	server := serveDeaf(t)
	db := openAt(t, "http://"+server.Addr().String()+"/db", Options{ConnectionTimeout: 2 * time.Second, Retries: 1})
	_, err := db.RevsDiff(context.Background(), []IDRevs{{ID: "a", Revs: []string{"1-x"}}})
	require.NoError(t, err)
	db.Close()
	server.mu.Lock()
	defer server.mu.Unlock()
	require.Equal(t, []string{"100-continue"}, server.expected)
}
