package service

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Bytes is a size that people write: a number, with KiB, MiB, GiB or TiB behind it, or nothing
// for bytes. It is a flag's value.
type Bytes int64

var units = []struct {
	name string
	size Bytes
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1}}

// Set implements pflag.Value.
func (b *Bytes) Set(text string) error {
	for _, u := range units {
		number, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n <= 0 || n > math.MaxInt64/int64(u.size) {
			break
		}
		*b = Bytes(n) * u.size
		return nil
	}
	return fmt.Errorf("expected a size such as 512MiB or 4GiB, got %q", text)
}

// String implements pflag.Value; 0 is what was not set.
func (b *Bytes) String() string {
	if *b == 0 {
		return ""
	}
	for _, u := range units {
		if *b%u.size == 0 {
			return strconv.FormatInt(int64(*b/u.size), 10) + u.name
		}
	}
	return ""
}

// Type implements pflag.Value.
func (b *Bytes) Type() string { return "size" }
