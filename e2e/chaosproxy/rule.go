package chaosproxy

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// Rule picks requests and says what happens to them. The first rule that picks a
// request is the only one that acts on it.
type Rule struct {
	// Match says which requests the rule is about. Nil: all.
	Match func(*http.Request) bool
	// Skip is how many matching requests pass before the rule acts.
	Skip int
	// Times is how many matching requests it acts on, after those. 0: no limit.
	Times int
	// Chance is the probability that it acts on a request that the above picked,
	// drawn from the proxy's seed. A request that it lets go counts for Times. 0: always.
	Chance float64
	// Do is what happens.
	Do Action
}

// Active is a rule in force.
type Active struct {
	Rule
	proxy   *Proxy
	seen    int // matching requests; guarded by Proxy.mu
	hits    atomic.Int64
	removed chan struct{}
}

// Add puts a rule in force, after those that already are.
func (p *Proxy) Add(rule Rule) *Active {
	a := &Active{Rule: rule, proxy: p, removed: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, a)
	return a
}

// Hits is how many requests the rule has acted on.
func (a *Active) Hits() int { return int(a.hits.Load()) }

// Remove ends the rule, and with a cut connection the requests that it holds. It
// may be called more than once.
func (a *Active) Remove() {
	a.proxy.mu.Lock()
	defer a.proxy.mu.Unlock()
	i := slices.Index(a.proxy.rules, a)
	if i < 0 {
		return
	}
	a.proxy.rules = slices.Delete(a.proxy.rules, i, i+1)
	close(a.removed)
}

// decision is an action and the rule that it came from (nil without one).
type decision struct {
	Action
	rule *Active
}

// decide finds the first rule that picks the request, and counts it there.
func (p *Proxy) decide(r *http.Request) decision {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, rule := range p.rules {
		if rule.Match != nil && !rule.Match(r) {
			continue
		}
		rule.seen++
		if rule.seen <= rule.Skip || rule.Times > 0 && rule.seen > rule.Skip+rule.Times {
			continue
		}
		if rule.Chance > 0 && p.chance.Float64() >= rule.Chance {
			continue
		}
		rule.hits.Add(1)
		return decision{Action: rule.Do, rule: rule}
	}
	return decision{}
}

// On matches requests of these kinds, whatever their method.
func On(kinds ...Endpoint) func(*http.Request) bool {
	return func(r *http.Request) bool { return slices.Contains(kinds, Classify(r)) }
}

// Method matches requests with this method that match as well (nil: all).
func Method(method string, match func(*http.Request) bool) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && (match == nil || match(r)) }
}

// PathContains matches requests whose path, as sent (escaped), contains part.
func PathContains(part string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.Contains(r.URL.EscapedPath(), part) }
}
