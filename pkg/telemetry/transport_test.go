package telemetry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"millrace/pkg/telemetry"
)

func TestTransportDescribesTheRequest(t *testing.T) {
	tel, spans := record(t)
	var seen http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r.Header
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, `{"ok":true}`)
	}))
	defer server.Close()
	ctx := telemetry.WithScope(context.Background(), telemetry.Scope{Job: "j1", Feed: "f1", Ordinal: 7})
	client := &http.Client{Transport: tel.Transport(server.Client().Transport)}
	defer client.CloseIdleConnections()

	req := request(t, ctx, http.MethodPost, server.URL+"/db/_bulk_docs?new_edits=false", `{"docs":[]}`)
	read(t, client, req)

	span := named(t, spans(), "POST _bulk_docs")
	if span.SpanKind != trace.SpanKindClient || span.Status.Code == codes.Error {
		t.Errorf("kind %v, status %v", span.SpanKind, span.Status)
	}
	if want := span.SpanContext.SpanID().String(); !strings.Contains(seen.Get("Traceparent"), want) {
		t.Errorf("server saw traceparent %q, want span %s", seen.Get("Traceparent"), want)
	}
	got := values(span.Attributes)
	for key, want := range map[string]any{
		"http.request.method":       "POST",
		"http.response.status_code": int64(200),
		"http.request.body.size":    int64(11),
		"http.response.body.size":   int64(11),
		"url.full":                  server.URL + "/db/_bulk_docs?new_edits=false",
		"millrace.job":              "j1",
		"millrace.feed":             "f1",
		"millrace.ordinal":          int64(7),
	} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
}

// Invariant 9, by searching everything that leaves the process.
func TestTransportShowsNoCredential(t *testing.T) {
	const secret = "hunter2"
	tel, spans := record(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != secret+"user" || password != secret {
			t.Errorf("the server got %s:%s", user, password)
		}
		http.SetCookie(w, &http.Cookie{Name: "AuthSession", Value: secret})
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer server.Close()
	client := &http.Client{Transport: tel.Transport(server.Client().Transport)}
	defer client.CloseIdleConnections()

	withUser := strings.Replace(server.URL, "http://", "http://"+secret+"user:"+secret+"@", 1)
	req := request(t, context.Background(), http.MethodGet, withUser+"/db/doc?token="+secret+"&rev=1-a&Signature="+secret, "")
	req.Header.Set("Cookie", "AuthSession="+secret)
	req.Header.Set("X-Auth-CouchDB-Token", secret)
	read(t, client, req)

	broken := &http.Client{Transport: tel.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("proxy %s refused", "http://"+secret+":"+secret+"@proxy:3128")
	}))}
	if res, err := broken.Do(request(t, context.Background(), http.MethodGet, withUser+"/db", "")); err == nil {
		_ = res.Body.Close()
		t.Error("no error")
	}

	all := spans()
	if text := fmt.Sprintf("%+v", all); strings.Contains(text, secret) {
		t.Errorf("the secret is in %s", text)
	}
	got := values(named(t, all, "GET {doc}").Attributes)
	if want := server.URL + "/db/doc?token=*****&rev=1-a&Signature=*****"; got["url.full"] != want {
		t.Errorf("url.full is %v, want %s", got["url.full"], want)
	}
	if status := named(t, all, "GET {db}").Status; status.Code != codes.Error || !strings.Contains(status.Description, "*****@proxy:3128 refused") {
		t.Errorf("status is %+v", status)
	}
}

func TestTransportCountsABodyThatIsClosedEarly(t *testing.T) {
	tel, spans := record(t)
	client := &http.Client{Transport: tel.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("0123456789"))}, nil
	}))}
	res, err := client.Do(request(t, context.Background(), http.MethodGet, "http://couch/db/_changes", ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(res.Body, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if got := values(named(t, spans(), "GET _changes").Attributes)["http.response.body.size"]; got != int64(4) {
		t.Errorf("size is %v, want 4", got)
	}
}

func TestTransportCountsRetries(t *testing.T) {
	tel, spans := record(t)
	rt := tel.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: http.NoBody}, nil
	}))
	for n := range 2 {
		ctx := telemetry.WithRetry(context.Background(), n)
		read(t, &http.Client{Transport: rt}, request(t, ctx, http.MethodPost, "http://couch/db/_revs_diff", ""))
	}
	all := spans()
	if len(all) != 2 {
		t.Fatalf("%d spans", len(all))
	}
	first, second := values(all[0].Attributes), values(all[1].Attributes)
	if first["millrace.retries"] != nil || second["millrace.retries"] != int64(1) || second["http.request.resend_count"] != int64(1) {
		t.Errorf("attributes are %v, then %v", first, second)
	}
}

func TestTransportMarksABodyThatBreaksOff(t *testing.T) {
	tel, spans := record(t)
	cut := errors.New("cut off")
	client := &http.Client{Transport: tel.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader("0123"), brokenReader{cut}))}, nil
	}))}
	res, err := client.Do(request(t, context.Background(), http.MethodGet, "http://couch/db/_bulk_get", ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); !errors.Is(err, cut) {
		t.Errorf("error is %v", err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	span := named(t, spans(), "GET _bulk_get")
	if span.Status.Code != codes.Error || values(span.Attributes)["http.response.body.size"] != int64(4) {
		t.Errorf("status %+v, attributes %v", span.Status, values(span.Attributes))
	}
}

func TestDisabledTransportIsTheBase(t *testing.T) {
	base := &http.Transport{}
	if got := telemetry.Disabled().Transport(base); got != http.RoundTripper(base) {
		t.Errorf("got %T", got)
	}
	if got := telemetry.Disabled().Transport(nil); got != http.DefaultTransport {
		t.Errorf("got %T", got)
	}
}

func TestUnsampledRequestLeavesTheBodyAlone(t *testing.T) {
	t.Setenv("OTEL_TRACES_SAMPLER", "always_off")
	tel, spans := record(t)
	body := io.NopCloser(strings.NewReader("x"))
	rt := tel.Transport(roundTripper(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 200, Body: body}, nil
	}))
	res, err := rt.RoundTrip(request(t, context.Background(), http.MethodGet, "http://couch/db", ""))
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if got := spans(); len(got) != 0 {
		t.Errorf("%d spans", len(got))
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func request(t *testing.T, ctx context.Context, method, url, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func read(t *testing.T, client *http.Client, req *http.Request) {
	t.Helper()
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err != nil {
		t.Error(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
}
