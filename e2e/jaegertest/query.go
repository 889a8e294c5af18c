package jaegertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// queryPoll is how often Trace asks again. Spans arrive by themselves, in
// batches, and Jaeger has no way to be told of them.
const queryPoll = 100 * time.Millisecond

// Traces returns the traces of the last two days in which the service took part,
// 20,000 at most, with the spans that have arrived so far.
func (s *Server) Traces(ctx context.Context, service string) ([]Trace, error) {
	query := url.Values{"service": {service}, "limit": {strconv.Itoa(maxTraces)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.QueryURL()+"/api/traces?"+query.Encode(), nil)
	if err != nil {
		return nil, fmt.Errorf("query Jaeger: %w", err)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("query Jaeger: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("query Jaeger: %s", res.Status)
	}
	var answer traceAnswer
	decoder := json.NewDecoder(res.Body)
	decoder.UseNumber() // a run or an epoch may exceed what a float64 can hold
	if err := decoder.Decode(&answer); err != nil {
		return nil, fmt.Errorf("read Jaeger's answer: %w", err)
	}
	return answer.traces(), nil
}

// Trace waits for a trace of the service that satisfies want, and returns the
// first. A trace arrives piece by piece, so want should ask for every span that
// it needs (see [Trace.Has] and [Trace.Complete]). It waits until ctx is done.
func (s *Server) Trace(ctx context.Context, service string, want func(Trace) bool) (Trace, error) {
	ticker := time.NewTicker(queryPoll)
	defer ticker.Stop()
	for {
		traces, err := s.Traces(ctx, service)
		if err != nil {
			return Trace{}, err
		}
		for _, t := range traces {
			if want(t) {
				return t, nil
			}
		}
		select {
		case <-ctx.Done():
			return Trace{}, fmt.Errorf("none of the %d traces of %s is the wanted one: %w", len(traces), service, ctx.Err())
		case <-s.exited:
			return Trace{}, fmt.Errorf("the Jaeger process ended: %w\n%s", s.exit, s.log.tail())
		case <-ticker.C:
		}
	}
}
