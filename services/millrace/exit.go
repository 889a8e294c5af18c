package main

// Exit codes of all commands.
const (
	exitOK = 0
	// exitDifferent: verify found a difference.
	exitDifferent = 1
	// exitUsage: the command line is wrong; nothing was done.
	exitUsage = 2
	// exitFailed: the work could not be done or finished.
	exitFailed = 3
	// exitRejected: everything was replicated but documents that the target refused.
	exitRejected = 4
	// exitInterrupted: stopped before the end; the next run goes on from there.
	exitInterrupted = 130
)

const exitCodes = `Exit codes: 0 done; 1 verify found a difference; 2 wrong command line; 3 failed;
4 done, but the target refused documents; 130 interrupted before the end (the same
command goes on from there).`

// exitError ends the program with a code, and a message unless err is nil.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return "failed"
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(err error) error  { return &exitError{exitUsage, err} }
func failedError(err error) error { return &exitError{exitFailed, err} }
