package jaegertest

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const startOfJaeger = `*** WARNING: not JSON ***
{"msg":"Starting HTTP server","caller":"other/server.go:1","endpoint":"127.0.0.1:1"}
{"msg":"Starting HTTP server","caller":"otlpreceiver@v0/otlp.go:178","endpoint":"127.0.0.1:2"}
{"msg":"Health Check state change","status":"unavailable"}
{"msg":"Query server started","http_addr":"127.0.0.1:3","grpc_addr":"127.0.0.1:4"}
`

const readyOfJaeger = `{"msg":"Health Check state change","status":"ready"}` + "\n"

func TestStartLogFindsTheAddressesInPieces(t *testing.T) {
	l := newStartLog()
	write(t, l, startOfJaeger)
	select {
	case got := <-l.ready:
		t.Fatalf("ready too soon: %+v", got)
	default:
	}
	write(t, l, readyOfJaeger+readyOfJaeger)
	if got, want := <-l.ready, (addresses{otlp: "127.0.0.1:2", query: "127.0.0.1:3"}); got != want {
		t.Errorf("addresses are %+v, want %+v", got, want)
	}
}

func TestStartLogKeepsItsEndOnly(t *testing.T) {
	l := newStartLog()
	write(t, l, strings.Repeat("x", tailSize)+"the end")
	if got := l.tail(); len(got) != tailSize || !strings.HasSuffix(got, "xthe end") {
		t.Errorf("tail has %d bytes and ends in %q", len(got), got[len(got)-10:])
	}
}

// write gives the log one byte at a time.
func write(t *testing.T, l *startLog, text string) {
	t.Helper()
	if _, err := io.Copy(struct{ io.Writer }{l}, iotest.OneByteReader(strings.NewReader(text))); err != nil {
		t.Fatal(err)
	}
}
