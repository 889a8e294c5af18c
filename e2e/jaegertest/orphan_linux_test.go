package jaegertest_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"millrace/e2e/jaegertest"
)

const victimVariable = "JAEGERTEST_VICTIM"

func TestJaegerDiesWithAKilledTest(t *testing.T) {
	jaegertest.ForTest(t) // builds it, or skips
	victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestVictim$")
	victim.Env = append(os.Environ(), victimVariable+"=1")
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	query, err := url.Parse(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if !listens(query.Host) {
		t.Fatalf("nobody listens at %s", query.Host)
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // says that it was killed

	ctx, cancel := context.WithTimeout(t.Context(), arrival)
	defer cancel()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for listens(query.Host) {
		select {
		case <-ctx.Done():
			t.Fatal("Jaeger outlived the test that started it")
		case <-ticker.C:
		}
	}
}

// TestVictim is the process that TestJaegerDiesWithAKilledTest kills.
func TestVictim(t *testing.T) {
	if os.Getenv(victimVariable) == "" {
		t.Skip("runs in a process of its own only")
	}
	fmt.Println(jaegertest.ForTest(t).QueryURL())
	<-t.Context().Done()
}

func listens(address string) bool {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
