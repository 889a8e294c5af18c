package program

import "syscall"

// diesWithParent makes the kernel end a program when the test is killed or runs
// into its time limit, and so cannot stop it.
func diesWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
