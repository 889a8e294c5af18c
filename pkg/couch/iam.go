package couch

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// DefaultIAMURL is where IBM Cloud exchanges API keys for tokens.
const DefaultIAMURL = "https://iam.cloud.ibm.com/identity/token"

// IAM is an account of IBM Cloud's Identity and Access Management: its API key is
// exchanged for a token that is good for an hour or so.
type IAM struct {
	APIKey string
	// URL of the exchange, http or https; empty means [DefaultIAMURL].
	URL string
}

// String shows no key.
func (i IAM) String() string { return "IAM" }

// GoString is String: %#v must not print the key.
func (i IAM) GoString() string { return "couch.IAM" }

// iamGrant is the kind of grant that an API key is.
const iamGrant = "urn:ibm:params:oauth:grant-type:apikey"

// tokenRetry is the wait before another attempt to replace a token that is still good.
const tokenRetry = 10 * time.Second

// accounts are the tokens in use. All databases of an account share one.
type accounts struct {
	wrap func(http.RoundTripper) http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex
	open map[accountKey]*account
}

// accountKey is an account and how its exchange is reached. It holds secrets and is never printed.
type accountKey struct {
	iam              IAM
	ca, proxy, agent string
	timeout          time.Duration
}

func newAccounts(wrap func(http.RoundTripper) http.RoundTripper) *accounts {
	return &accounts{wrap: wrap, now: time.Now, open: map[accountKey]*account{}}
}

// account is the token of an API key.
type account struct {
	client *http.Client
	agent  string
	url    *url.URL
	key    string
	now    func() time.Time

	turn chan struct{} // held by who exchanges

	mu               sync.Mutex
	value            string
	renewAt, expires time.Time
	forced           time.Time // when a token was last replaced because it was refused
}

// openAccount returns the account, which is reached by the same proxy and trusted by the same
// authorities as the endpoint that uses it.
func (a *accounts) openAccount(i IAM, o Options) (*account, error) {
	if i.URL == "" {
		i.URL = DefaultIAMURL
	}
	u, err := url.Parse(i.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return nil, fmt.Errorf("%w: the address for tokens is no http or https URL", ErrBadEndpoint)
	}
	key := accountKey{iam: i, ca: o.TLS.CA, agent: o.UserAgent, timeout: o.ConnectionTimeout}
	if o.Proxy != nil {
		key.proxy = o.Proxy.String()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if there := a.open[key]; there != nil {
		return there, nil
	}
	o.TLS = TLS{CA: o.TLS.CA}
	transport, err := newTransport(o)
	if err != nil {
		return nil, err
	}
	transport.DisableKeepAlives = true // it is used once an hour
	var chain http.RoundTripper = &watchdog{next: transport, limit: o.ConnectionTimeout}
	if a.wrap != nil {
		chain = a.wrap(chain)
	}
	fresh := &account{
		client: &http.Client{Transport: &redirects{next: chain, secret: true}},
		agent:  o.UserAgent, url: u, key: i.APIKey, now: a.now, turn: make(chan struct{}, 1),
	}
	a.open[key] = fresh
	return fresh, nil
}

// token returns the account's token, a new one if it is about to end or is the one that was
// refused. Errors are those of the exchange: *[HTTPError] and *[RequestError].
func (a *account) token(ctx context.Context, refused string) (string, error) {
	if token, ok := a.standing(refused); ok {
		return token, nil
	}
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if token, ok := a.standing(refused); ok { // somebody else was faster
		return token, nil
	}
	err := a.exchange(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	if refused != "" {
		a.forced = now
	}
	if err != nil && a.value != refused && now.Before(a.expires) {
		a.renewAt = now.Add(tokenRetry)
		return a.value, nil // it is good for a while yet
	}
	return a.value, err
}

// standing is the present token, if it need not be replaced.
func (a *account) standing(refused string) (string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	switch {
	case a.value == "" || !now.Before(a.renewAt):
		return "", false
	case refused == "" || a.value != refused:
		return a.value, true
	}
	return a.value, now.Sub(a.forced) < renewalPause
}

// exchange gets a token for the key.
func (a *account) exchange(ctx context.Context) error {
	form := url.Values{"grant_type": {iamGrant}, "apikey": {a.key}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url.String(), strings.NewReader(form))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", typeJSON)
	req.Header.Set("User-Agent", a.agent)
	shown := url.URL{Scheme: a.url.Scheme, Host: a.url.Host, Path: a.url.Path}
	asked := &request{method: http.MethodPost, url: &shown}
	resp, err := a.client.Do(req)
	if err != nil {
		return asked.failed(err)
	}
	defer discard(resp.Body)
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return newIAMError(asked, resp)
	}
	var answer struct {
		Token     string `json:"access_token"`
		ExpiresIn int64  `json:"expires_in"` // seconds
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, tokenLimit)).Decode(&answer); err != nil || answer.Token == "" {
		return asked.cut(errNoToken)
	}
	a.take(answer.Token, time.Duration(min(answer.ExpiresIn, maxAge))*time.Second)
	return nil
}

// tokenLimit bounds an answer with a token, in bytes.
const tokenLimit = 1 << 20

var errNoToken = fmt.Errorf("%w: it has no access_token", errShape)

// take keeps a token. It is replaced when a fifth of its life is left, as by IBM's own clients.
func (a *account) take(token string, life time.Duration) {
	if life <= 0 {
		life = time.Hour
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	a.value = token
	a.renewAt, a.expires = now.Add(life/10*8), now.Add(life)
}

// newIAMError reads the exchange's refusal, whose words are not CouchDB's.
func newIAMError(asked *request, resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, errorBodyLimit)) // what there is will do
	resp.Body = io.NopCloser(bytes.NewReader(body))
	e := newHTTPError(asked, resp)
	e.elsewhere = true
	var said struct {
		Code    string `json:"errorCode"`
		Message string `json:"errorMessage"`
	}
	if json.Unmarshal(body, &said) == nil && said.Code != "" {
		e.Err, e.Reason = said.Code, said.Message
	}
	return e
}
