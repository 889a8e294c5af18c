package procfs

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// stateListen is TCP_LISTEN of include/net/tcp_states.h as proc(5) prints it.
const stateListen = "0A"

// socket is one listening TCP socket.
type socket struct {
	local netip.AddrPort
	inode uint64
}

// Listeners returns the processes that listen on addr, or on its port at the
// unspecified address, in ascending order. A socket inherited by several
// processes names them all. It is empty when nobody does, or when the
// listener belongs to another user whose descriptors may not be read.
func (f FS) Listeners(addr netip.AddrPort) ([]int, error) {
	inodes := map[uint64]bool{}
	for _, name := range []string{"tcp", "tcp6"} {
		if err := f.collect(name, addr, inodes); err != nil {
			return nil, err
		}
	}
	if len(inodes) == 0 {
		return nil, nil
	}
	return f.holders(inodes)
}

// collect adds the inodes of the sockets in net/<name> that answer at addr. A
// machine without IPv6 has no tcp6 file, which is not an error.
func (f FS) collect(name string, addr netip.AddrPort, inodes map[uint64]bool) error {
	file, err := os.Open(f.path("net", name))
	if err != nil {
		if name == "tcp6" && errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("list sockets: %w", err)
	}
	defer file.Close()
	sockets, err := parseSockets(file)
	if err != nil {
		return fmt.Errorf("list sockets: %w", err)
	}
	for _, s := range sockets {
		if answers(s.local, addr) {
			inodes[s.inode] = true
		}
	}
	return nil
}

// answers reports whether a socket bound to local accepts connections to addr.
func answers(local, addr netip.AddrPort) bool {
	if local.Port() != addr.Port() {
		return false
	}
	ip := local.Addr().Unmap()
	return ip.IsUnspecified() || ip == addr.Addr().Unmap()
}

// holders returns the processes with a descriptor of one of the sockets.
func (f FS) holders(inodes map[uint64]bool) ([]int, error) {
	pids, err := f.pids()
	if err != nil {
		return nil, err
	}
	var held []int
	for _, pid := range pids {
		if f.holds(pid, inodes) {
			held = append(held, pid)
		}
	}
	return held, nil
}

// holds reports whether pid has one of the sockets open. Processes that ended
// meanwhile or that we may not look into do not count.
func (f FS) holds(pid int, inodes map[uint64]bool) bool {
	links, err := filepath.Glob(f.process(pid, "fd/*"))
	if err != nil {
		return false
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue
		}
		if inode, ok := socketInode(target); ok && inodes[inode] {
			return true
		}
	}
	return false
}

// socketInode reads the inode out of a descriptor's target, "socket:[123]".
func socketInode(target string) (uint64, bool) {
	digits, ok := strings.CutPrefix(target, "socket:[")
	if !ok {
		return 0, false
	}
	inode, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 64)
	return inode, err == nil
}

// parseSockets reads the listening sockets of a net/tcp or net/tcp6 table.
func parseSockets(r io.Reader) ([]socket, error) {
	var sockets []socket
	lines := bufio.NewScanner(r)
	lines.Scan() // the headings
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 {
			return nil, fmt.Errorf("socket table: %d columns in %q", len(fields), lines.Text())
		}
		if fields[3] != stateListen {
			continue
		}
		local, err := parseAddrPort(fields[1])
		if err != nil {
			return nil, err
		}
		inode, err := strconv.ParseUint(fields[9], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("socket table: inode: %w", err)
		}
		sockets = append(sockets, socket{local: local, inode: inode})
	}
	return sockets, lines.Err()
}

// parseAddrPort reads "0100007F:3E70". The address is printed as 32-bit words
// in the machine's own byte order, the port as a number.
func parseAddrPort(text string) (netip.AddrPort, error) {
	host, port, found := strings.Cut(text, ":")
	if !found {
		return netip.AddrPort{}, fmt.Errorf("socket table: no port in %q", text)
	}
	number, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("socket table: port: %w", err)
	}
	words, err := hex.DecodeString(host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("socket table: address: %w", err)
	}
	if len(words) != 4 && len(words) != 16 {
		return netip.AddrPort{}, fmt.Errorf("socket table: address of %d bytes", len(words))
	}
	for i := 0; i < len(words); i += 4 {
		word := binary.BigEndian.Uint32(words[i:])
		binary.NativeEndian.PutUint32(words[i:], word)
	}
	ip, _ := netip.AddrFromSlice(words)
	return netip.AddrPortFrom(ip, uint16(number)), nil
}
