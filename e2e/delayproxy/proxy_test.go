package delayproxy

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"
)

// echo is a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return listener.Addr().String()
}

func started(t *testing.T, server string) *Proxy {
	t.Helper()
	p, err := Start(server)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func dial(t *testing.T, p *Proxy) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// tried is how a connection ends that is not served: while it is made or after.
func tried(p *Proxy) error {
	conn, err := net.Dial("tcp", p.Addr())
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Read(make([]byte, 1))
	return err
}

// A machine that is busy makes it longer, never shorter.
func TestProxyPutsAtLeastTheRoundTripBetweenRealConnections(t *testing.T) {
	p := started(t, echo(t))
	const rtt = 20 * time.Millisecond
	p.SetRTT(rtt)
	began := time.Now()
	conn := dial(t, p)
	for _, least := range []time.Duration{2 * rtt, rtt} { // the handshake, once
		write(t, conn, "ping")
		read(t, conn, "ping")
		if took := time.Since(began); took < least {
			t.Errorf("there and back took %v, want at least %v", took, least)
		}
		began = time.Now()
	}
}

func TestProxyCarriesManyConnectionsAndTheEndOfEach(t *testing.T) {
	p := started(t, echo(t))
	p.SetRTT(2 * time.Millisecond)
	sent := make([]byte, 3<<20)
	results := make(chan error)
	for range 20 {
		conn := dial(t, p).(*net.TCPConn)
		go func() {
			_, err := conn.Write(sent)
			_ = conn.CloseWrite()
			results <- err
		}()
		go func() {
			got, err := io.ReadAll(conn)
			if err == nil && len(got) != len(sent) {
				err = errors.New("bytes are missing")
			}
			results <- err
		}()
	}
	for range 40 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

func TestServerLooksDeadUntilItIsUp(t *testing.T) {
	p := started(t, echo(t))
	conn := dial(t, p)
	write(t, conn, "ping")
	read(t, conn, "ping")
	p.Down()
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an open connection ended with %v", err)
	}
	if err := tried(p); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a new connection ended with %v", err)
	}
	p.Up()
	conn = dial(t, p)
	write(t, conn, "ping")
	read(t, conn, "ping")
}

func TestServerThatIsNotThereResetsConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := listener.Addr().String()
	_ = listener.Close()
	if err := tried(started(t, nobody)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
}
