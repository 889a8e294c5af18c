package procfs

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

const tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:3E70 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 52314 1 0000000000000000 100 0 0 10 0
   1: 0100007F:3E70 0100007F:C2A4 01 00000000:00000000 00:00000000 00000000   999        0 60001 1 0000000000000000 20 4 30 10 -1
   2: 00000000:6580 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 52400 1 0000000000000000 100 0 0 10 0
`

const tcp6Table = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 71 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 72 1 0000000000000000 100 0 0 10 0
`

func TestSocketTableYieldsListenersOnly(t *testing.T) {
	for _, c := range []struct {
		name, table string
		want        []socket
	}{
		{"IPv4", tcpTable, []socket{
			{netip.MustParseAddrPort("127.0.0.1:15984"), 52314},
			{netip.MustParseAddrPort("0.0.0.0:25984"), 52400},
		}},
		{"IPv6", tcp6Table, []socket{
			{netip.MustParseAddrPort("[::1]:8080"), 71},
			{netip.MustParseAddrPort("[::ffff:127.0.0.1]:8081"), 72},
		}},
		{"headings alone", "  sl  local_address\n", nil},
		{"empty", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseSockets(strings.NewReader(c.table))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestSocketTableThatIsNoneIsAnError(t *testing.T) {
	for _, line := range []string{
		"0: 0100007F:3E70 x 0A",
		"0: 0100007F 0:0 0A 0:0 00:0 0 0 0 1",
		"0: 0100007F:XXXX 0:0 0A 0:0 00:0 0 0 0 1",
		"0: 01007F:3E70 0:0 0A 0:0 00:0 0 0 0 1",
		"0: 0100007G:3E70 0:0 0A 0:0 00:0 0 0 0 1",
		"0: 0100007F:3E70 0:0 0A 0:0 00:0 0 0 0 inode",
	} {
		if got, err := parseSockets(strings.NewReader("headings\n" + line + "\n")); err == nil {
			t.Errorf("%q was read as %v", line, got)
		}
	}
}

func TestListenerAnswersAtItsAddressAndAtAnyIfUnspecified(t *testing.T) {
	for _, c := range []struct {
		local, addr string
		want        bool
	}{
		{"127.0.0.1:80", "127.0.0.1:80", true},
		{"127.0.0.1:80", "127.0.0.1:81", false},
		{"127.0.0.1:80", "127.0.0.2:80", false},
		{"0.0.0.0:80", "127.0.0.2:80", true},
		{"[::]:80", "127.0.0.1:80", true},
		{"[::ffff:127.0.0.1]:80", "127.0.0.1:80", true},
		{"[::1]:80", "127.0.0.1:80", false},
	} {
		if got := answers(netip.MustParseAddrPort(c.local), netip.MustParseAddrPort(c.addr)); got != c.want {
			t.Errorf("%s answers at %s: got %t", c.local, c.addr, got)
		}
	}
}

func TestListenersFindsThisVeryProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("needs Linux's /proc:", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().(*net.TCPAddr).AddrPort()
	pids, err := New("/proc").Listeners(addr)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(pids, os.Getpid()) {
		t.Errorf("got %v, want %d among them", pids, os.Getpid())
	}
	listener.Close()
	if pids, err := New("/proc").Listeners(addr); err != nil || len(pids) > 0 {
		t.Errorf("after closing: got %v, %v", pids, err)
	}
}

func FuzzSocketTable(f *testing.F) {
	f.Add(tcpTable)
	f.Add(tcp6Table)
	f.Fuzz(func(t *testing.T, table string) {
		sockets, err := parseSockets(strings.NewReader(table))
		if err != nil {
			return
		}
		for _, s := range sockets {
			if !s.local.IsValid() {
				t.Errorf("invalid address of inode %d", s.inode)
			}
		}
	})
}
