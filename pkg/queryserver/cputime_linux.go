package queryserver

import (
	"time"

	"golang.org/x/sys/unix"
)

// threadClock is the clock of the processor time of the calling thread, for other threads as well, as the
// kernel makes its number of the thread's (CPUCLOCK_SCHED and CPUCLOCK_PERTHREAD_MASK).
func threadClock() int32 { return ^int32(unix.Gettid())<<3 | 2 | 4 }

// usedTime is how much processor time a thread has used. Not ok: nobody knows.
func usedTime(clock int32) (used time.Duration, ok bool) {
	var t unix.Timespec
	err := unix.ClockGettime(clock, &t)
	return time.Duration(t.Nano()), err == nil
}
