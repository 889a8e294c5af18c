package couch

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// trust is what verifies a test server.
func trust(s *httptest.Server) TLS { return TLS{CA: certPEM(s.Certificate().Raw)} }

func certPEM(der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// clientPair is a client's certificate with its key.
func clientPair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "replicator"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	encoded, err := x509.MarshalECPrivateKey(private)
	require.NoError(t, err)
	return certPEM(der), string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: encoded}))
}

func TestCertificatesAreVerified(t *testing.T) {
	s := httptest.NewUnstartedServer(answer(`{"db_name":"db"}`))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	for _, test := range []struct {
		name string
		tls  TLS
		is   string // of the error
	}{
		{"by the system's authorities", TLS{}, "certificate signed by unknown authority"},
		{"by given authorities", trust(s), ""},
		{"by their name", TLS{CA: trust(s).CA, ServerName: "other.test"}, "not other.test"},
		{"by another name", TLS{CA: trust(s).CA, ServerName: "example.com"}, ""},
		{"unless told not to", TLS{InsecureSkipVerify: true}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := openAt(t, s.URL+"/db", Options{TLS: test.tls, Retries: -1}).Info(context.Background())
			if test.is == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.is)
		})
	}
}

func TestClientCertificateIsShown(t *testing.T) {
	cert, key := clientPair(t)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM([]byte(cert)))
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, `{"db_name":%q}`, r.TLS.PeerCertificates[0].Subject.CommonName)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	s.StartTLS()
	t.Cleanup(s.Close)
	info, err := openAt(t, s.URL+"/db", Options{TLS: TLS{CA: trust(s).CA, Cert: cert, Key: key}}).Info(context.Background())
	require.NoError(t, err)
	require.Equal(t, "replicator", info.Name)
	_, err = openAt(t, s.URL+"/db", Options{TLS: trust(s), Retries: -1}).Info(context.Background())
	require.Error(t, err)
}

func TestUnusableTLSIsSaidWithoutTheKey(t *testing.T) {
	cert, key := clientPair(t)
	for _, bad := range []TLS{
		{CA: "no PEM"}, {Cert: cert}, {Key: key}, {Cert: cert, Key: "secret"}, {Cert: key, Key: key},
	} {
		_, err := Open(Endpoint{URL: "https://h/db"}, Options{TLS: bad})
		require.ErrorIs(t, err, ErrBadTLS)
		require.NotContains(t, err.Error(), "secret")
	}
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", TLS{Key: "secret"}, TLS{Key: "secret"}, Options{TLS: TLS{Key: "secret"}}), "secret")
}
