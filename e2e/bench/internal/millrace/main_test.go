package millrace

import (
	"fmt"
	"os"
	"os/signal"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// actEnv makes this test binary behave like a millrace of a certain kind.
const actEnv = "MILLRACE_BENCH_ACT"

func TestMain(m *testing.M) {
	if act := os.Getenv(actEnv); act != "" {
		os.Exit(perform(act))
	}
	goleak.VerifyTestMain(m)
}

// perform is the program in these tests; the result is its exit status.
func perform(act string) int {
	switch act {
	case "succeed":
		return 0
	case "fail":
		fmt.Fprintln(os.Stderr, "cannot read", os.Args[2])
		return 3
	case "broker":
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		fmt.Print("nats://127.0.", "0.1:1234\n")
		fmt.Println("more")
		<-interrupted
		return 0
	case "live":
		interrupted := make(chan os.Signal, 1)
		signal.Notify(interrupted, os.Interrupt)
		markReady()
		<-interrupted
		return 130
	case "describe":
		home, _ := os.UserHomeDir()
		dir, _ := os.Getwd()
		fmt.Println(strings.Join(os.Args[1:], " "), "at home:", home == dir)
		return 1
	}
	return 99
}

// markReady tells the test that an interrupt would be heeded from now on.
func markReady() {
	ready, err := os.OpenFile(os.Getenv("MILLRACE_BENCH_READY"), os.O_WRONLY, 0)
	if err != nil {
		panic(err)
	}
	ready.Close()
}
