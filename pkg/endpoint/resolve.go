package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"millrace/pkg/couch"
	"millrace/pkg/credential"
)

// Open returns a client of the endpoint, in the pool. What the endpoint refers to is read now, and its
// credentials again whenever the server refuses them. Options give what the endpoint does
// not say itself. Errors wrap [couch.ErrCredentials], [couch.ErrBadTLS] and [couch.ErrBadEndpoint].
func (e Endpoint) Open(pool *couch.Pool, rules credential.Rules, options couch.Options) (*couch.DB, error) {
	at := couch.Endpoint{URL: e.URL, Headers: e.Headers}
	use, err := e.use()
	if err != nil {
		return nil, err
	}
	c, err := e.credentials(rules, use)
	if err != nil {
		return nil, err
	}
	at.Username, at.Password, at.Token, at.IAM = c.Username, c.Password, c.Token, c.IAM
	if source := e.Auth.Source(); source != "" {
		at.Renewal = &couch.Renewal{
			Source:      source,
			Credentials: func(context.Context) (couch.Credentials, error) { return e.credentials(rules, use) },
		}
	}
	if err := e.into(&options, rules, use); err != nil {
		return nil, err
	}
	return pool.Open(at, options)
}

// use is where the endpoint's secrets go to.
func (e Endpoint) use() (credential.Use, error) {
	u, err := url.Parse(e.URL)
	if err != nil {
		return credential.Use{}, fmt.Errorf("%w: it does not parse", couch.ErrBadEndpoint)
	}
	t := e.TLS
	return credential.Use{
		Host: u.Hostname(),
		// An authority that is referred to is the operator's, and one in the document the document's.
		Detour: e.Proxy != "" || t.CA.Text != "" || t.ServerName != "" || t.InsecureSkipVerify || e.Auth.TokenURL != "",
	}, nil
}

// credentials are those that there are now.
func (e Endpoint) credentials(rules credential.Rules, use credential.Use) (c couch.Credentials, err error) {
	switch a := e.Auth; a.Kind {
	case credential.Basic:
		c.Username = a.User
		c.Password, err = rules.Read(a.Password, use)
	case credential.Bearer:
		c.Token, err = rules.Read(a.Token, use)
	case credential.IAM:
		c.IAM.URL = a.TokenURL
		c.IAM.APIKey, err = rules.Read(a.APIKey, use)
	case credential.Netrc:
		var l credential.Login
		l, err = rules.Login(a.File, a.User, use)
		c.Username, c.Password = l.User, l.Password
	}
	return c, loginError(err)
}

func loginError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", couch.ErrCredentials, err)
}

// into puts what the endpoint says about the connection into the options.
func (e Endpoint) into(o *couch.Options, rules credential.Rules, use credential.Use) (err error) {
	o.ConnectionTimeout, o.HTTPConnections, o.Retries = e.ConnectionTimeout, e.HTTPConnections, e.RetriesPerRequest
	if o.Retries == 0 {
		o.Retries = -1 // none: for the client 0 is its default
	}
	if e.Proxy != "" {
		if o.Proxy, err = url.Parse(string(e.Proxy)); err != nil {
			return fmt.Errorf("%w: the proxy's URL does not parse", couch.ErrBadEndpoint)
		}
	}
	t := e.TLS
	o.TLS.ServerName, o.TLS.InsecureSkipVerify = t.ServerName, t.InsecureSkipVerify
	var errs [3]error
	o.TLS.CA, errs[0] = rules.Read(t.CA, use)
	o.TLS.Cert, errs[1] = rules.Read(t.Cert, use)
	o.TLS.Key, errs[2] = rules.Read(t.Key, use)
	return loginError(errors.Join(errs[:]...))
}

// refers reports whether a part of the endpoint is kept in files or in the environment.
func (e Endpoint) refers() bool { return e.Auth.Source() != "" || e.TLS.Source() != "" }
