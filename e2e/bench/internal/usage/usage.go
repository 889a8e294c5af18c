// Package usage says how much processor time the benchmark's two servers use,
// where they run on this machine.
package usage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"millrace/e2e/bench/internal/procfs"
)

// ErrNotLocal says that no process of this machine serves a URL, or none that
// may be looked into: only root sees the sockets of another user's processes.
var ErrNotLocal = errors.New("no process of this machine is seen to listen there")

// Servers measures a source and a target. They may be one process.
//
// A server in a container whose port is forwarded by a proxy process is
// mistaken for that proxy: run the container with the host's network.
type Servers struct {
	fs     procfs.FS
	source []int // process ids, empty if not local
	target []int
}

// Reading is the processor time used so far; a difference of two is what was
// used in between.
type Reading struct {
	Source, Target time.Duration
	Both           time.Duration // a process that is source and target counts once
	Machine        time.Duration // everything that runs on this machine
}

// Find looks for the processes that serve the two URLs. A server that is not
// local makes [Servers.Local] false and is not an error.
func Find(ctx context.Context, fs procfs.FS, source, target *url.URL) (*Servers, error) {
	s := &Servers{fs: fs}
	var err error
	if s.source, err = find(ctx, fs, source); err != nil {
		return nil, err
	}
	if s.target, err = find(ctx, fs, target); err != nil {
		return nil, err
	}
	return s, nil
}

// Local reports whether both servers can be measured.
func (s *Servers) Local() bool {
	return len(s.source) > 0 && len(s.target) > 0
}

// Read returns what the servers have used so far, or [ErrNotLocal].
func (s *Servers) Read() (Reading, error) {
	if !s.Local() {
		return Reading{}, ErrNotLocal
	}
	source, err := s.fs.CPU(s.source)
	if err != nil {
		return Reading{}, err
	}
	target, err := s.fs.CPU(s.target)
	if err != nil {
		return Reading{}, err
	}
	machine, err := s.fs.Busy()
	if err != nil {
		return Reading{}, err
	}
	both := source + target
	if slices.Equal(s.source, s.target) {
		both = source
	}
	return Reading{Source: source, Target: target, Both: both, Machine: machine}, nil
}

// Sub returns what was used between an earlier reading and r.
func (r Reading) Sub(earlier Reading) Reading {
	return Reading{
		Source: r.Source - earlier.Source, Target: r.Target - earlier.Target,
		Both: r.Both - earlier.Both, Machine: r.Machine - earlier.Machine,
	}
}

const (
	// settleStep is how long the servers are watched at a time.
	settleStep = 250 * time.Millisecond
	// settled is what two servers with nothing to do may use in a step: a
	// tenth of one core.
	settled = settleStep / 10
	// settleLimit is when it is not worth waiting any longer.
	settleLimit = 20 * time.Second
)

// Settle waits until the servers have finished what the last measurement left
// them to do (deleting files, compacting), and reports whether they came to
// rest before 20 s were over. Servers elsewhere count as at rest.
func (s *Servers) Settle(ctx context.Context) (bool, error) {
	if !s.Local() {
		return true, nil
	}
	last, err := s.Read()
	if err != nil {
		return false, err
	}
	ticker := time.NewTicker(settleStep)
	defer ticker.Stop()
	for range settleLimit / settleStep {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-ticker.C:
		}
		now, err := s.Read()
		if err != nil {
			return false, err
		}
		if now.Sub(last).Both <= settled {
			return true, nil
		}
		last = now
	}
	return false, nil
}

// find returns the processes that listen at the URL's address, nil if that is
// not an address of this machine.
func find(ctx context.Context, fs procfs.FS, u *url.URL) ([]int, error) {
	addrs, err := resolve(ctx, u)
	if err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		if !local(addr.Addr()) {
			continue
		}
		pids, err := fs.Listeners(addr)
		if err != nil || len(pids) > 0 {
			return pids, err
		}
	}
	return nil, nil
}

// resolve returns the addresses that a URL's host stands for.
func resolve(ctx context.Context, u *url.URL) ([]netip.AddrPort, error) {
	port := u.Port()
	if port == "" {
		port = u.Scheme // "http" and "https" are names of services, too
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", u.Host, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", u.Host, err)
	}
	addrs := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		addrs[i] = netip.AddrPortFrom(ip.Unmap(), uint16(number))
	}
	return addrs, nil
}

// local reports whether ip is an address of this machine.
func local(ip netip.Addr) bool {
	if ip.IsLoopback() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == ip
	})
}
