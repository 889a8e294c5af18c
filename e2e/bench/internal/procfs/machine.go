package procfs

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Busy returns the time that all cores together have spent on anything since
// the machine started. It includes what a hypervisor gave to other machines
// (steal), for that was not to be had either.
func (f FS) Busy() (time.Duration, error) {
	text, err := os.ReadFile(f.path("stat"))
	if err != nil {
		return 0, fmt.Errorf("machine's processor time: %w", err)
	}
	return parseBusy(string(text))
}

// parseBusy sums the columns of /proc/stat's first line, "cpu", but idle (the
// 4th), waiting for disks (the 5th, idle as well) and those from the 9th on,
// which user and nice include already. See proc(5).
func parseBusy(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, errors.New("machine's processor time: no line of all cores")
	}
	var ticks int64
	for i, field := range fields[1:9] {
		if i == 3 || i == 4 {
			continue
		}
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("machine's processor time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}
