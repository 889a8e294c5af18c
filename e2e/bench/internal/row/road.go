package row

import (
	"errors"
	"fmt"
	"net"
	"time"

	"millrace/e2e/bench/internal/server"
	"millrace/e2e/delayproxy"
)

// road leads from the source's side to the target's. Its zero value but for the
// target is no distance at all.
type road struct {
	target *server.Server // as the source's side sees it
	proxy  *delayproxy.Proxy
	rtt    time.Duration
}

// newRoad puts a round trip before the target. The target's side, and the harness
// when it looks at the outcome, go without.
func newRoad(target *server.Server, rtt time.Duration) (road, error) {
	if target.URL().Scheme != "http" {
		return road{}, errors.New("a distance can be put before a target at http only: the certificate is not for the proxy")
	}
	proxy, err := delayproxy.Start(hostPort(target))
	if err != nil {
		return road{}, err
	}
	proxy.SetRTT(rtt)
	far, err := target.Behind(proxy.Addr())
	if err != nil {
		proxy.Close()
		return road{}, fmt.Errorf("the target behind the proxy: %w", err)
	}
	return road{target: far, proxy: proxy, rtt: rtt}, nil
}

// hostPort is where the server listens.
func hostPort(s *server.Server) string {
	if u := s.URL(); u.Port() == "" {
		return net.JoinHostPort(u.Hostname(), "80")
	}
	return s.URL().Host
}

// to is the target database as the source's side sees it.
func (r road) to(target *server.Database) *server.Database { return target.At(r.target) }

// inFlight is how many requests of the bare limit are under way to the target.
func (r road) inFlight(s *Setting) int {
	if r.proxy == nil {
		return s.InFlight
	}
	return s.FarInFlight
}

func (r road) close() error {
	if r.proxy == nil {
		return nil
	}
	r.target.Close()
	r.proxy.Close()
	return nil
}
