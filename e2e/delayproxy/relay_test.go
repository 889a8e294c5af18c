package delayproxy

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// In a bubble the clock stands still unless all wait, so times are exact.
func TestRelayDelaysByHalfARoundTripEachWay(t *testing.T) {
	const rtt = 100 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		client, server, done := relayed(rtt)
		began := time.Now()

		write(t, client, "ping")
		read(t, server, "ping")
		if got := time.Since(began); got != rtt*3/2 {
			t.Errorf("the first bytes took %v, want a handshake and half a round trip", got)
		}
		began = time.Now()
		write(t, server, "pong")
		read(t, client, "pong")
		write(t, client, "ping")
		read(t, server, "ping")
		if got := time.Since(began); got != rtt {
			t.Errorf("there and back took %v", got)
		}
		_ = client.Close()
		_ = server.Close()
		<-done
	})
}

func TestRelayDelaysWithoutLimitingBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, done := relayed(time.Second)
		began := time.Now()
		go func() {
			for range 100 {
				write(t, server, "chunk")
			}
			_ = server.Close()
		}()
		for range 100 {
			read(t, client, "chunk")
		}
		if got := time.Since(began); got != 2*time.Second {
			t.Errorf("100 chunks took %v, want as long as one: a handshake, and what the server says unasked", got)
		}
		_ = client.Close()
		<-done
	})
}

func TestRelayDeliversWhatWasSentBeforeTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server, done := relayed(time.Second)
		write(t, client, "last words")
		_ = client.Close()
		read(t, server, "last words")
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("then came %v", err)
		}
		_ = server.Close()
		<-done
	})
}

func TestResetRelayDropsWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		front, back := net.Pipe()
		inner, server := net.Pipe()
		r := newRelay(back, inner, func() time.Duration { return time.Hour })
		done := make(chan struct{})
		go func() { r.run(); close(done) }()
		began := time.Now()
		write(t, front, "lost")
		synctest.Wait()
		r.reset()
		r.reset()
		<-done
		if got, err := io.ReadAll(server); len(got) > 0 || err != nil {
			t.Errorf("the server got %q, %v", got, err)
		}
		if got := time.Since(began); got != 0 {
			t.Errorf("a reset took %v", got)
		}
		_ = front.Close()
	})
}

// relayed returns the two outer ends of a relay, and what closes when it is over.
func relayed(rtt time.Duration) (client, server net.Conn, done <-chan struct{}) {
	front, back := net.Pipe()
	inner, outer := net.Pipe()
	r := newRelay(back, inner, func() time.Duration { return rtt })
	over := make(chan struct{})
	go func() { r.run(); close(over) }()
	return front, outer, over
}

func write(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Error(err)
	}
}

func read(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v; want %q", got, err, want)
	}
}
