package replication

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"millrace/pkg/credential"
)

func basicHeader(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// source parses a document with this source.
func source(t testing.TB, v any) (Endpoint, error) {
	t.Helper()
	doc, err := json.Marshal(map[string]any{"source": v, "target": "http://t"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseSpec(doc)
	if err != nil {
		return Endpoint{}, err
	}
	return s.Source, nil
}

type object = map[string]any

// CouchDB's normalize_basic_creds_test, and what differs from it.
func TestCredentialIsFoundAndRemoved(t *testing.T) {
	auth := func(user, password string) object {
		return object{"basic": object{"username": user, "password": password}}
	}
	for _, c := range []struct {
		name, url    string
		auth         object
		header       string
		wantURL      string
		user, passwd string
	}{
		{"url", "http://u:p@x.y/db", nil, "", "http://x.y/db/", "u", "p"},
		{"url with port", "http://u:p@h:80/db", nil, "", "http://h:80/db/", "u", "p"},
		{"https", "https://u:p@h/db", nil, "", "https://h/db/", "u", "p"},
		{"IPv6", "http://u:p@[2001:db8:a1b:12f9::1]/db", nil, "", "http://[2001:db8:a1b:12f9::1]/db/", "u", "p"},
		{"IPv6 with port and query", "http://u:p@[::1]:42/db?q=2", nil, "", "http://[::1]:42/db?q=2", "u", "p"},
		{"colon in the password", "http://u:p:p@[::1]:42/db?q=2", nil, "", "http://[::1]:42/db?q=2", "u", "p:p"},
		{"empty password", "http://u:@h/db", nil, "", "http://h/db/", "u", ""},
		{"header", "http://h/db", nil, basicHeader("u", "p@%40"), "http://h/db/", "u", "p@%40"},
		{"header in any case", "http://h/db", nil, strings.Replace(basicHeader("U", "p"), "Basic", "bASIC", 1), "http://h/db/", "U", "p"},
		{"url before header", "http://u1:p1@h/db", nil, basicHeader("u2", "p2"), "http://h/db/", "u1", "p1"},
		{"auth before url", "http://u1:p1@h/db", auth("u2", "p2"), "", "http://h/db/", "u2", "p2"},
		{"auth before both", "http://u1:p1@h/db", auth("u2", "p2"), basicHeader("u3", "p3"), "http://h/db/", "u2", "p2"},
		// Unlike CouchDB, which logs in with the escapes.
		{"escapes in the url", "http://u%40x:p%3a%2F@h/db", nil, "", "http://h/db/", "u@x", "p:/"},
		{"no escapes in auth", "http://h/db", auth("u%40", "p%40"), "", "http://h/db/", "u%40", "p%40"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := object{"url": c.url}
			if c.auth != nil {
				o["auth"] = c.auth
			}
			if c.header != "" {
				o["headers"] = object{"aUthorization": c.header, "X": "y"}
			}
			e, err := source(t, o)
			if err != nil {
				t.Fatal(err)
			}
			want := credential.Auth{Kind: credential.Basic, User: c.user, Password: credential.Text(c.passwd)}
			if e.URL != c.wantURL || e.Auth != want {
				t.Errorf("URL %s, user %q, password %q; want %s, %q, %q",
					e.URL, e.Auth.User, string(e.Auth.Password.Text), c.wantURL, c.user, c.passwd)
			}
			if len(e.Headers) > 0 && !slices.Equal(e.Headers, []Header{{"X", "y"}}) {
				t.Errorf("headers %v still have a credential", e.HTTPHeader())
			}
		})
	}
}

func TestWhatIsNoCredentialIsDropped(t *testing.T) {
	for name, v := range map[string]any{
		"none":                     "http://h/db",
		"user without password":    "http://secretjunk@h/db",
		"header of junk":           object{"url": "http://h/db", "headers": object{"Authorization": "Basic !!"}},
		"header without colon":     object{"url": "http://h/db", "headers": object{"Authorization": "Basic dXNlcg=="}},
		"auth of another plugin":   object{"url": "http://h/db", "auth": object{"saml": object{"key": "x"}}},
		"header without a padding": object{"url": "http://h/db", "headers": object{"Authorization": "Basic dTpwcA"}},
	} {
		e, err := source(t, v)
		if err != nil || e.Auth != (credential.Auth{}) || len(e.Headers) != 0 || e.URL != "http://h/db/" {
			t.Errorf("%s: %#v, user %q, headers %v, %v", name, e, e.Auth.User, e.Headers, err)
		}
	}
}

func TestBearerTokenStaysAHeader(t *testing.T) {
	e, err := source(t, object{"url": "http://h/db", "headers": object{"Authorization": "Bearer t", "x-a": "1"}})
	if err != nil {
		t.Fatal(err)
	}
	h := e.HTTPHeader()
	if h.Get("Authorization") != "Bearer t" || h.Get("X-A") != "1" || len(h) != 2 {
		t.Errorf("headers %v", h)
	}
}

func TestURLThatCannotBeReachedIsRefused(t *testing.T) {
	for _, u := range []string{
		"http://", "http:///db", "http://h:x/db", "http://h:/db", "http://h:99999/db", "http://h:0/db", "http://a:b:c",
		"http://u:p@x@h/db", "http://[::1/db", "http://[1.2.3.4]/db", "http://[::1]x/db", "http://h/d b", "http://h/dé",
		"http://h/%zz", "http://h/db#x", "ftp://a/b", "http://h/a[b]",
	} {
		_, err := source(t, u)
		var f *FieldError
		if !asFieldError(err, &f) || f.Reason != "endpoint has an invalid url" || f.Field != "source" || f.Word != "invalid_replication" {
			t.Errorf("%s: %v", u, err)
		}
	}
}

// No way of printing a spec shows a secret (invariant 9).
func TestSecretsAreNotPrinted(t *testing.T) {
	s, err := ParseSpec([]byte(`{"source":{"url":"http://u:hunter2@h/db","headers":{"Authorization":"Bearer hunter2"}},
		"targets":[{"url":"http://h","auth":{"basic":{"username":"u","password":"hunter2"}},"proxy":"http://u:hunter2@p"},
		{"url":"https://i","auth":{"bearer":{"token":"hunter2"}},"tls":{"cert":"c","key":"hunter2"}},{"url":"https://j","auth":{"iam":{"api_key":"hunter2"}}}],"proxy":"http://u:hunter2@p"}`))
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x",
		"endpoint", s.Source, "headers", s.Source.Headers, "auth", s.Source.Auth, "tls", s.Source.TLS, "spec", s)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "endpoint", s.Targets[0], "others", s.Targets, "spec", s)
	marshalled, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	out := log.String() + string(marshalled)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		out += fmt.Sprintf(verb+verb+verb+verb, s, *s, s.Source, s.Source.Headers) + fmt.Sprintf(verb, s.Source.Proxy)
	}
	for _, secret := range []string{"hunter2", fmt.Sprintf("%x", "hunter2")} {
		if i := strings.Index(out, secret); i >= 0 {
			t.Errorf("secret shown: ...%s", out[max(0, i-80):i+10])
		}
	}
}
