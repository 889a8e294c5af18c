package couch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// TLS says how https is spoken. The zero value verifies certificates by the system's
// authorities. It prints without its secrets (invariant 9).
type TLS struct {
	// CA are the certificates of authorities in PEM, in place of the system's.
	CA string
	// Cert is the client's certificate with its chain, and Key its key, in PEM: both or
	// neither.
	Cert, Key string
	// ServerName is the name that the server's certificate is for, where it is not the
	// URL's host.
	ServerName string
	// InsecureSkipVerify takes any certificate: whoever can redirect the connection can
	// then read the credentials and change the documents.
	InsecureSkipVerify bool
}

// ErrBadTLS is wrapped by the errors for certificates and keys that cannot be used.
var ErrBadTLS = errors.New("bad TLS settings")

// String names what is set.
func (t TLS) String() string {
	return fmt.Sprintf("{ca:%t cert:%t key:%t name:%q insecure:%t}", t.CA != "", t.Cert != "", t.Key != "", t.ServerName, t.InsecureSkipVerify)
}

// GoString is String: %#v must not print the key.
func (t TLS) GoString() string { return "couch.TLS" + t.String() }

// config is the setting for connections to the server. Errors wrap [ErrBadTLS] and
// quote nothing of a key.
func (t TLS) config() (*tls.Config, error) {
	c, err := t.authorities()
	if err != nil {
		return nil, err
	}
	c.ServerName = t.ServerName
	c.InsecureSkipVerify = t.InsecureSkipVerify //nolint:gosec // it was asked for explicitly
	if t.Cert == "" && t.Key == "" {
		return c, nil
	}
	pair, err := tls.X509KeyPair([]byte(t.Cert), []byte(t.Key))
	if err != nil {
		return nil, fmt.Errorf("%w: client certificate: %w", ErrBadTLS, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

// authorities is the setting for others than the server, such as a proxy on the way: its
// authorities, but neither its exceptions nor its client certificate.
func (t TLS) authorities() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA == "" {
		return c, nil
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM([]byte(t.CA)) {
		return nil, fmt.Errorf("%w: no certificate in the authorities' PEM", ErrBadTLS)
	}
	return c, nil
}
