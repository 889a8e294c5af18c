package couch

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy is an HTTP proxy that wants the user "u@" with the password "p:s".
type proxy struct {
	mu     sync.Mutex
	asked  []string
	status int // if not 0, what it answers
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.RequestURI)
	p.mu.Unlock()
	if p.status != 0 {
		w.WriteHeader(p.status)
		return
	}
	as := http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	if user, pass, _ := as.BasicAuth(); user != "u@" || pass != "p:s" {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	if r.Method != http.MethodConnect {
		r.Header.Del("Proxy-Authorization")
		(&httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}).ServeHTTP(w, r)
		return
	}
	to, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	from, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
	join(from, buffered.Reader, to)
}

// join copies both ways until either side ends.
func join(from net.Conn, unread *bufio.Reader, to net.Conn) {
	var both sync.WaitGroup
	end := func() { _ = from.Close(); _ = to.Close() }
	both.Go(func() { defer end(); _, _ = io.Copy(to, unread) })
	both.Go(func() { defer end(); _, _ = io.Copy(from, to) })
	both.Wait()
}

// socks is a SOCKS5 proxy (RFC 1928, RFC 1929) for the same user. It counts its connections and
// returns the names that it was asked for.
func socks(t *testing.T) (address string, names func() []string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var mu sync.Mutex
	var asked []string
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				_ = serveSocks(c, func(name string) { mu.Lock(); asked = append(asked, name); mu.Unlock() })
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l.Addr().String(), func() []string { mu.Lock(); defer mu.Unlock(); return asked }
}

func serveSocks(c net.Conn, asked func(string)) error {
	r := bufio.NewReader(c)
	read := func(n int) []byte {
		b := make([]byte, n)
		_, _ = io.ReadFull(r, b)
		return b
	}
	read(int(read(2)[1])) // the methods
	_, _ = c.Write([]byte{5, 2})
	user := read(int(read(2)[1]))
	password := read(int(read(1)[0]))
	if string(user) != "u@" || string(password) != "p:s" {
		_, err := c.Write([]byte{1, 1})
		return err
	}
	_, _ = c.Write([]byte{1, 0})
	var name string
	switch kind := read(4)[3]; kind {
	case 1:
		name = net.IP(read(4)).String()
	case 3:
		name = string(read(int(read(1)[0])))
	default:
		return fmt.Errorf("address of kind %d", kind)
	}
	asked(name)
	to, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(binary.BigEndian.Uint16(read(2)))))
	if err != nil {
		return err
	}
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	join(c, r, to)
	return nil
}

func TestProxiesAreGoneThrough(t *testing.T) {
	plain := httptest.NewServer(answer(`{"db_name":"db"}`))
	t.Cleanup(plain.Close)
	tls := httptest.NewTLSServer(answer(`{"db_name":"db"}`))
	t.Cleanup(tls.Close)
	behind, behindTLS := &proxy{}, &proxy{}
	http1 := httptest.NewServer(behind)
	t.Cleanup(http1.Close)
	https := httptest.NewTLSServer(behindTLS)
	t.Cleanup(https.Close)
	five, names := socks(t)
	proxies := map[string]func() []string{
		http1.URL:          func() []string { return behind.asked },
		https.URL:          func() []string { return behindTLS.asked },
		"socks5://" + five: names,
	}
	for at, asked := range proxies {
		u := mustURL(at)
		u.User = url.UserPassword("u@", "p:s")
		o := Options{Proxy: u, TLS: trust(tls), Retries: -1} // the same test certificate everywhere
		before := len(asked())
		for _, to := range []string{plain.URL, tls.URL} {
			db := openAt(t, to+"/db", o)
			requireInfo(t, db)
			_, _, err := rows(t, openAt(t, to+"/db", o), ChangesOptions{})
			require.Error(t, err) // it is no feed, but it was asked for
		}
		require.Len(t, asked(), before+4, "%s: connections or requests", at)

		u = mustURL(at)
		u.User = url.UserPassword("u@", "secret")
		o.Proxy = u
		for _, to := range []string{plain.URL, tls.URL} {
			_, err := openAt(t, to+"/db", o).Info(context.Background())
			require.Error(t, err)
			require.NotContains(t, err.Error(), "secret")
			if u.Scheme != "socks5" {
				require.Equal(t, http.StatusProxyAuthRequired, refusalIn(t, err).Status)
				require.Equal(t, Permanent, Classify(err))
			}
		}
	}
	require.Contains(t, behind.asked, "CONNECT "+strings.TrimPrefix(tls.URL, "https://"))
	require.Contains(t, behind.asked, "GET "+plain.URL+"/db")
}

func TestNamesAreResolvedByTheSocksProxy(t *testing.T) {
	s := httptest.NewServer(answer(`{"db_name":"db"}`))
	t.Cleanup(s.Close)
	five, names := socks(t)
	u := mustURL("http://db.test:" + mustURL(s.URL).Port() + "/db")
	requireInfo(t, openAt(t, u.String(), Options{Proxy: mustURL("socks5://u%40:p%3As@" + five), Retries: -1}))
	require.Equal(t, []string{"db.test"}, names())
}

func TestProxyThatFailsIsTriedAgain(t *testing.T) {
	p := &proxy{status: 503}
	s := httptest.NewServer(p)
	t.Cleanup(s.Close)
	for _, to := range []string{"http://db.test/db", "https://db.test/db"} {
		p.asked = nil
		_, err := openAt(t, to, Options{Proxy: mustURL(s.URL), Retries: 2}).Info(context.Background())
		require.Equal(t, 503, refusalIn(t, err).Status)
		require.Len(t, p.asked, 3)
	}
}

func TestProxyDoesNotSeeTheClientCertificateNorIsExemptFromVerification(t *testing.T) {
	cert, key := clientPair(t)
	tls := httptest.NewTLSServer(answer(`{"db_name":"db"}`))
	t.Cleanup(tls.Close)
	p := httptest.NewUnstartedServer(&proxy{})
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.StartTLS()
	t.Cleanup(p.Close)
	u := mustURL(p.URL)
	u.User = url.UserPassword("u@", "p:s")
	_, err := openAt(t, tls.URL+"/db", Options{Proxy: u, TLS: TLS{InsecureSkipVerify: true}, Retries: -1}).Info(context.Background())
	require.ErrorContains(t, err, "unknown authority")

	o := Options{Proxy: u, TLS: TLS{CA: trust(p).CA, Cert: cert, Key: key}}.withDefaults()
	transport, err := newTransport(o)
	require.NoError(t, err)
	require.NotEmpty(t, transport.TLSClientConfig.Certificates)
	towards, err := o.TLS.authorities()
	require.NoError(t, err)
	require.Empty(t, towards.Certificates)
}

func TestNameThatDoesNotResolveIsTriedAgain(t *testing.T) {
	tries := 0
	db := openAt(t, "http://db.invalid/db", Options{Retries: 1, Transport: func(http.RoundTripper) http.RoundTripper {
		return roundTripper(func(*http.Request) (*http.Response, error) { // as the resolver says it
			tries++
			return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "db.invalid", IsNotFound: true}}
		})
	}})
	_, err := db.Info(context.Background())
	var dns *net.DNSError
	require.True(t, errors.As(err, &dns), err)
	require.Equal(t, Transient, Classify(err))
	require.Equal(t, 2, tries)
}

// refusalIn is the answer that an error is about.
func refusalIn(t *testing.T, err error) *HTTPError {
	t.Helper()
	var e *HTTPError
	require.ErrorAs(t, err, &e)
	return e
}
