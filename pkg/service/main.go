package service

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// closePatience is how long a program takes at most to deliver what is on its way
// when it stops.
const closePatience = 10 * time.Second

// Exit codes of the services' programs.
const (
	ExitOK    = 0
	ExitError = 1
	ExitUsage = 2
)

// Main is the main function of a program that is one service. It runs until SIGINT or
// SIGTERM, and exits.
func Main(program, purpose string, run Service) {
	os.Exit(Program(program, purpose, os.Args[1:], run))
}

// Program is [Main] with its arguments, and returns the exit code.
func Program(program, purpose string, args []string, run Service) int {
	c := FromEnvironment()
	f := pflag.NewFlagSet(program, pflag.ContinueOnError)
	f.Usage = func() {
		fmt.Fprintf(os.Stderr, "%s %s\n\nUsage: %s [flags]\n\n%s", program, purpose, program, f.FlagUsages())
	}
	c.Flags(f)
	switch err := f.Parse(args); {
	case err == pflag.ErrHelp:
		return ExitOK
	case err != nil:
		return usage(program, err)
	case f.NArg() > 0:
		return usage(program, fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	if err := c.Check(); err != nil {
		return usage(program, err)
	}
	log, err := NewLogger(c, os.Stderr)
	if err != nil {
		return usage(program, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go LimitMemory(ctx)
	env, err := Open(ctx, c, program, nil, log)
	if err != nil {
		if ctx.Err() != nil {
			return ExitOK
		}
		log.Error("cannot start", "error", err)
		return ExitError
	}
	log.Info("running", "program", program, "site", c.Site, "version", Version())
	Supervise(ctx, log, program, func(ctx context.Context) error { return Guarded(run)(ctx, env) })
	last, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	if err := env.Close(last); err != nil {
		log.Warn("did not stop cleanly", "error", err)
	}
	return ExitOK
}

func usage(program string, err error) int {
	fmt.Fprintf(os.Stderr, "%s: %v\nSee %s --help.\n", program, err, program)
	return ExitUsage
}
