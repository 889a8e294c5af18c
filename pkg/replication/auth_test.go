package replication

import (
	"encoding/json"
	"testing"

	"millrace/pkg/credential"
)

func TestWaysToLogIn(t *testing.T) {
	for _, test := range []struct {
		auth string
		want credential.Auth
	}{
		{`{"basic":{"username":"u","password":""}}`, credential.Auth{Kind: credential.Basic, User: "u"}},
		{`{"basic":{"username":"u","password_file":"/run/secrets/p","other":1}}`, credential.Auth{Kind: credential.Basic, User: "u", Password: credential.Value{File: "/run/secrets/p"}}},
		{`{"basic":{"username":"u","password_env":"DB_P"}}`, credential.Auth{Kind: credential.Basic, User: "u", Password: credential.Value{Env: "DB_P"}}},
		{`{"bearer":{"token":"t"}}`, credential.Auth{Kind: credential.Bearer, Token: credential.Text("t")}},
		{`{"bearer":{"token_file":"/t"}}`, credential.Auth{Kind: credential.Bearer, Token: credential.Value{File: "/t"}}},
		{`{"iam":{"api_key":"k"}}`, credential.Auth{Kind: credential.IAM, APIKey: credential.Text("k")}},
		{`{"iam":{"api_key_env":"K","token_url":"http://127.0.0.1:1/token"}}`, credential.Auth{Kind: credential.IAM, APIKey: credential.Value{Env: "K"}, TokenURL: "http://127.0.0.1:1/token"}},
		{`{"netrc":true}`, credential.Auth{Kind: credential.Netrc}},
		{`{"netrc":{"username":"u","file":"/n"},"of_a_plugin":{}}`, credential.Auth{Kind: credential.Netrc, User: "u", File: "/n"}},
	} {
		e, err := source(t, object{"url": "https://h/db", "auth": json.RawMessage(test.auth)})
		if err != nil || e.Auth != test.want {
			t.Errorf("%s: %v, %v", test.auth, e.Auth, err)
		}
	}
}

func TestTLSOfAnEndpoint(t *testing.T) {
	for _, test := range []struct {
		tls  string
		want credential.TLS
	}{
		{`{}`, credential.TLS{}},
		{`{"ca":"pem","server_name":"n"}`, credential.TLS{CA: credential.Text("pem"), ServerName: "n"}},
		{`{"ca_file":"/ca","cert_file":"/c","key_file":"/k"}`, credential.TLS{
			CA: credential.Value{File: "/ca"}, Cert: credential.Value{File: "/c"}, Key: credential.Value{File: "/k"},
		}},
		{`{"cert":"c","key":"k","insecure_skip_verify":true}`, credential.TLS{Cert: credential.Text("c"), Key: credential.Text("k"), InsecureSkipVerify: true}},
	} {
		e, err := source(t, object{"url": "https://h/db", "tls": json.RawMessage(test.tls)})
		if err != nil || e.TLS != test.want {
			t.Errorf("%s: %v, %v", test.tls, e.TLS, err)
		}
	}
}

func TestBadLoginsAreNamed(t *testing.T) {
	for _, c := range []struct{ member, field string }{
		{`"auth":{"basic":{"username":"u"}}`, "source.auth.basic"},
		{`"auth":{"basic":{"username":"u","password":"p","password_file":"/p"}}`, "source.auth.basic"},
		{`"auth":{"basic":{"username":"u","password_file":"p"}}`, "source.auth.basic.password_file"},
		{`"auth":{"basic":{"username":"u","password_file":"/a/../b"}}`, "source.auth.basic.password_file"},
		{`"auth":{"basic":{"username":"u","password_env":"a=b"}}`, "source.auth.basic.password_env"},
		{`"auth":{"basic":1}`, "source.auth.basic"},
		{`"auth":{"bearer":{}}`, "source.auth.bearer"},
		{`"auth":{"bearer":{"token":""}}`, "source.auth.bearer"},
		{`"auth":{"bearer":{"token":"a\nb"}}`, "source.auth.bearer.token"},
		{`"auth":{"bearer":{"token":"a","tokenfile":"/b"}}`, "source.auth.bearer.tokenfile"},
		{`"auth":{"iam":{"api_key":1}}`, "source.auth.iam"},
		{`"auth":{"iam":{"api_key":"k","token_url":"ftp://h"}}`, "source.auth.iam.token_url"},
		{`"auth":{"iam":{"api_key":"k","token_url":"http://u:p@h"}}`, "source.auth.iam.token_url"},
		{`"auth":{"netrc":false}`, "source.auth.netrc"},
		{`"auth":{"netrc":{"file":"rel"}}`, "source.auth.netrc.file"},
		{`"auth":{"basic":{"username":"u","password":"p"},"bearer":{"token":"t"}}`, "source.auth"},
		{`"auth":{"bearer":{"token":"t"}},"headers":{"authorization":"Bearer x"}`, "source"},
		{`"tls":1`, "source.tls"},
		{`"tls":{"ca":"a","ca_file":"/b"}`, "source.tls"},
		{`"tls":{"cert":"c"}`, "source.tls"},
		{`"tls":{"insecure_skip_verify":"yes"}`, "source.tls.insecure_skip_verify"},
		{`"tls":{"insecure_skip_verfy":true}`, "source.tls.insecure_skip_verfy"},
		{`"proxy":"ftp://h"`, "source.proxy"},
	} {
		_, err := ParseSpec([]byte(`{"target":"http://t","source":{"url":"https://h/db",` + c.member + `}}`))
		var f *FieldError
		if !asFieldError(err, &f) || f.Field != c.field {
			t.Errorf("%s: %v, want field %s", c.member, err, c.field)
		}
	}
}

// Reference section 9 item 3: a token that rotates changes the id, and with it loses the
// checkpoints, where it is a header, as in CouchDB; not where it is ours.
func TestTokensAndHowTheyAreReachedAreNotPartOfTheID(t *testing.T) {
	id := func(member string) string {
		s, err := ParseSpec([]byte(`{"target":"http://t","source":{"url":"http://foo.example.bar"` + member + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		id, err := s.Jobs()[0].ID("uuid", "")
		if err != nil {
			t.Fatal(err)
		}
		return id.String()
	}
	plain := id("")
	for _, same := range []string{
		`,"auth":{"bearer":{"token":"t1"}}`, `,"auth":{"bearer":{"token_file":"/t"}}`, `,"auth":{"iam":{"api_key":"k"}}`,
		`,"auth":{"netrc":true}`, `,"proxy":"socks5://u:p@h"`, `,"tls":{"insecure_skip_verify":true}`,
	} {
		if id(same) != plain {
			t.Errorf("%s changes the id", same)
		}
	}
	user := id(`,"auth":{"basic":{"username":"u","password":"p"}}`)
	if user == plain || id(`,"auth":{"basic":{"username":"u","password_file":"/p"}}`) != user {
		t.Error("a user is part of the id, and where the password is kept is not")
	}
	if id(`,"headers":{"Authorization":"Bearer t1"}`) == id(`,"headers":{"Authorization":"Bearer t2"}`) {
		t.Error("a header is part of the id, as in CouchDB")
	}
}

func TestEndpointsOwnProxyCountsMore(t *testing.T) {
	s, err := ParseSpec([]byte(`{"source":"http://s","targets":[{"url":"http://a","proxy":"http://own"},"http://b"],"target_proxy":"http://side"}`))
	if err != nil || s.Targets[0].Proxy != "http://own" || s.Targets[1].Proxy != "http://side" || s.Source.Proxy != "" {
		t.Errorf("%v", err)
	}
}
