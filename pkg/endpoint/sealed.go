package endpoint

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/credential"
	millracev1 "millrace/proto/millrace/v1"
)

// secret is what is sealed: all that is to be kept secret, and what it belongs to. Fields are
// added and never renamed.
type secret struct {
	Username string      `json:"username,omitempty"`
	Password string      `json:"password,omitempty"`
	Headers  http.Header `json:"headers,omitempty"`

	Kind        credential.Kind `json:"kind,omitempty"` // empty of old ones with a username
	PasswordRef *reference      `json:"password_ref,omitempty"`
	Token       *reference      `json:"token,omitempty"`
	APIKey      *reference      `json:"api_key,omitempty"`
	TokenURL    string          `json:"token_url,omitempty"`
	Netrc       string          `json:"netrc,omitempty"`
	Proxy       string          `json:"proxy,omitempty"`
	Owner       string          `json:"owner,omitempty"`
	TLS         *sealedTLS      `json:"tls,omitempty"`
}

// reference is a [credential.Value], whose own encoding masks the secret.
type reference struct {
	Text string `json:"text,omitempty"`
	File string `json:"file,omitempty"`
	Env  string `json:"env,omitempty"`
}

type sealedTLS struct {
	CA         *reference `json:"ca,omitempty"`
	Cert       *reference `json:"cert,omitempty"`
	Key        *reference `json:"key,omitempty"`
	ServerName string     `json:"server_name,omitempty"`
	Insecure   bool       `json:"insecure_skip_verify,omitempty"`
}

func seal(v credential.Value) *reference {
	if v.IsZero() {
		return nil
	}
	return &reference{Text: string(v.Text), File: v.File, Env: v.Env}
}

func (r *reference) value() credential.Value {
	if r == nil {
		return credential.Value{}
	}
	return credential.Value{Text: credential.Secret(r.Text), File: r.File, Env: r.Env}
}

// secret of the endpoint.
func (e Endpoint) secret() secret {
	a := e.Auth
	s := secret{
		Username: a.User, Headers: e.Headers, Kind: a.Kind, Token: seal(a.Token), APIKey: seal(a.APIKey),
		TokenURL: a.TokenURL, Netrc: a.File, Proxy: string(e.Proxy), Owner: e.Owner,
	}
	if a.Password.IsReference() {
		s.PasswordRef = seal(a.Password)
	} else {
		s.Password = string(a.Password.Text)
	}
	if t := e.TLS; t != (credential.TLS{}) {
		s.TLS = &sealedTLS{
			CA: seal(t.CA), Cert: seal(t.Cert), Key: seal(t.Key), ServerName: t.ServerName, Insecure: t.InsecureSkipVerify,
		}
	}
	return s
}

// open is the endpoint with the secret.
func (s secret) open(e *Endpoint) {
	if s.Kind == credential.Nobody && s.Username != "" {
		s.Kind = credential.Basic
	}
	e.Headers, e.Proxy, e.Owner = s.Headers, credential.Secret(s.Proxy), s.Owner
	e.Auth = credential.Auth{
		Kind: s.Kind, User: s.Username, Password: credential.Text(s.Password), Token: s.Token.value(),
		APIKey: s.APIKey.value(), TokenURL: s.TokenURL, File: s.Netrc,
	}
	if s.PasswordRef != nil {
		e.Auth.Password = s.PasswordRef.value()
	}
	if t := s.TLS; t != nil {
		e.TLS = credential.TLS{
			CA: t.CA.value(), Cert: t.Cert.value(), Key: t.Key.value(), ServerName: t.ServerName, InsecureSkipVerify: t.Insecure,
		}
	}
}

func (s *Store) encode(id string, e Endpoint) ([]byte, error) {
	plain, err := json.Marshal(e.secret())
	if err != nil {
		return nil, fmt.Errorf("store endpoint %s: %w", e, err)
	}
	stored, key, err := s.sealer.seal(id, plain)
	if err != nil {
		return nil, err
	}
	return proto.Marshal(&millracev1.Endpoint{
		Id: id, Url: e.URL, Credential: stored, KeyId: key,
		ConnectionTimeoutMs: uint32(e.ConnectionTimeout.Milliseconds()),
		HttpConnections:     uint32(e.HTTPConnections),
		RetriesPerRequest:   uint32(e.RetriesPerRequest),
	})
}

func (s *Store) decode(id string, value []byte) (Endpoint, error) {
	var p millracev1.Endpoint
	if err := proto.Unmarshal(value, &p); err != nil {
		return Endpoint{}, fmt.Errorf("read endpoint %s: %w", id, err)
	}
	plain, err := s.sealer.open(id, p.KeyId, p.Credential)
	if err != nil {
		return Endpoint{}, fmt.Errorf("read endpoint %s: %w", id, err)
	}
	var c secret
	if err := json.Unmarshal(plain, &c); err != nil {
		return Endpoint{}, fmt.Errorf("read endpoint %s: its credential does not parse", id)
	}
	e := Endpoint{URL: p.Url, Settings: Settings{
		ConnectionTimeout: time.Duration(p.ConnectionTimeoutMs) * time.Millisecond,
		HTTPConnections:   int(p.HttpConnections),
		RetriesPerRequest: int(p.RetriesPerRequest),
	}}
	c.open(&e)
	return e, nil
}
