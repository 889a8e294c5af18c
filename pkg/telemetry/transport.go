package telemetry

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Transport wraps base (nil: http.DefaultTransport) so that every request gets
// a client span, named by its method and the kind of its endpoint ("POST
// _bulk_docs"), with the attributes of the HTTP semantic conventions, the sizes
// of both bodies and the scope of the request's context. The span ends when the
// response's body has been read to its end or closed. When tracing is off it
// returns base itself.
//
// The span of a continuous feed lasts as long as the feed: batches read from it
// begin traces of their own (trace.WithNewRoot), with a link to it.
//
// No header is recorded, and of the URL neither userinfo nor the value of a
// parameter like "token" (invariant 9).
func (t *Telemetry) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	if t.sdk == nil {
		return base
	}
	return &transport{
		base: base,
		traced: otelhttp.NewTransport(describe{base},
			otelhttp.WithTracerProvider(t.provider),
			// Baggage is not passed on: it would tell a foreign server more
			// than the ids of the trace.
			otelhttp.WithPropagators(propagation.TraceContext{}),
			otelhttp.WithSpanNameFormatter(func(_ string, r *http.Request) string {
				return requestName(r.Method, r.URL.EscapedPath())
			}),
		),
	}
}

// transport is the outside of the sandwich around otelhttp, describe the inside:
// only the inside knows the span, and only the outside learns that a body is
// closed before the span has ended.
type transport struct {
	base   http.RoundTripper
	traced http.RoundTripper
}

// RoundTrip makes the request.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	x := new(exchange)
	res, err := t.traced.RoundTrip(r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x)))
	if err != nil || x.span == nil {
		return res, err
	}
	res.Body = &closedBody{ReadCloser: res.Body, exchange: x}
	return res, nil
}

// CloseIdleConnections is what http.Client.CloseIdleConnections calls.
func (t *transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

type retryKey struct{}

// WithRetry returns a context for the nth repetition of a request, n from 1: the
// request's span then says so. Each repetition has a span of its own beside the
// first's.
func WithRetry(ctx context.Context, n int) context.Context {
	return context.WithValue(ctx, retryKey{}, n)
}

type exchangeKey struct{}

// exchange is one request and its response. A span that is not recorded leaves
// it empty.
type exchange struct {
	span trace.Span
	read atomic.Int64
	once sync.Once
}

// finish must precede the end of the span.
func (x *exchange) finish() {
	x.once.Do(func() { x.span.SetAttributes(semconv.HTTPResponseBodySize(int(x.read.Load()))) })
}

type describe struct{ base http.RoundTripper }

// RoundTrip adds to the span what otelhttp does not say, or says too openly.
func (d describe) RoundTrip(r *http.Request) (*http.Response, error) {
	x, _ := r.Context().Value(exchangeKey{}).(*exchange)
	span := trace.SpanFromContext(r.Context())
	if x == nil || !span.IsRecording() {
		return d.base.RoundTrip(r)
	}
	span.SetAttributes(semconv.URLFull(publicURL(r.URL)))
	if r.ContentLength > 0 {
		span.SetAttributes(semconv.HTTPRequestBodySize(int(r.ContentLength)))
	}
	if n, ok := r.Context().Value(retryKey{}).(int); ok && n > 0 {
		span.SetAttributes(semconv.HTTPRequestResendCount(n), Retries(n))
	}
	res, err := d.base.RoundTrip(r)
	if err != nil || res.Body == nil || res.StatusCode == http.StatusSwitchingProtocols {
		return res, err
	}
	x.span = span
	res.Body = &countedBody{ReadCloser: res.Body, exchange: x}
	return res, nil
}

// countedBody sees the end of the body before the span does.
type countedBody struct {
	io.ReadCloser
	exchange *exchange
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.exchange.read.Add(int64(n))
	if err != nil {
		b.exchange.finish()
	}
	return n, err
}

// closedBody sees the closing of the body before the span does.
type closedBody struct {
	io.ReadCloser
	exchange *exchange
}

func (b *closedBody) Close() error {
	b.exchange.finish()
	return b.ReadCloser.Close()
}

// publicURL is u without userinfo, and without the values of secret parameters.
func publicURL(u *url.URL) string {
	public := *u
	public.User = nil
	if public.RawQuery != "" {
		params := strings.Split(public.RawQuery, "&")
		for i, p := range params {
			if name, _, ok := strings.Cut(p, "="); ok && secretName(name) {
				params[i] = name + "=" + mask
			}
		}
		public.RawQuery = strings.Join(params, "&")
	}
	return public.String()
}
