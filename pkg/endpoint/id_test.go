package endpoint_test

import (
	"encoding/base64"
	"net/http"
	"testing"
	"time"

	"millrace/pkg/credential"
	"millrace/pkg/endpoint"
	millracev1 "millrace/proto/millrace/v1"
)

// jwt is a token with the claims.
func jwt(claims, signature string) credential.Auth {
	part := base64.RawURLEncoding.EncodeToString
	token := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part([]byte(claims)) + "." + part([]byte(signature))
	return credential.Auth{Kind: credential.Bearer, Token: credential.Text(token)}
}

func bearer(token string) credential.Auth {
	return credential.Auth{Kind: credential.Bearer, Token: credential.Text(token)}
}

// Jobs may share a feed exactly where the same database is read as the same user.
func TestIdentityIsWhoReadsWhat(t *testing.T) {
	with := func(change func(*endpoint.Endpoint)) endpoint.Endpoint {
		e := endpoint.Endpoint{URL: "https://h/db"}
		change(&e)
		return e
	}
	auth := func(a credential.Auth) endpoint.Endpoint {
		return with(func(e *endpoint.Endpoint) { e.Auth = a })
	}
	iam := func(a credential.Auth) endpoint.Endpoint { a.Kind = credential.IAM; return auth(a) }
	files := func(file string) endpoint.Endpoint {
		return auth(credential.Auth{Kind: credential.Bearer, Token: credential.Value{File: file}})
	}
	tls := func(s credential.TLS) endpoint.Endpoint {
		return with(func(e *endpoint.Endpoint) { e.TLS = s })
	}
	proxy := func(u credential.Secret) endpoint.Endpoint {
		return with(func(e *endpoint.Endpoint) { e.Proxy = u })
	}
	header := func(h http.Header) endpoint.Endpoint {
		return with(func(e *endpoint.Endpoint) { e.Headers = h })
	}
	classes := map[string][]endpoint.Endpoint{
		"nobody": {
			{URL: "https://h/db"},
			with(func(e *endpoint.Endpoint) {
				e.ConnectionTimeout, e.HTTPConnections, e.RetriesPerRequest = time.Second, 3, 4
			}),
			tls(credential.TLS{Key: credential.Text("of no certificate")}),
		},
		"another database": {{URL: "https://h/db2"}},
		"another owner":    {with(func(e *endpoint.Endpoint) { e.Owner = "eve" })},
		"a user": {
			auth(basic("joe", "p")), auth(basic("joe", "q")),
			auth(credential.Auth{Kind: credential.Basic, User: "joe", Password: credential.Value{File: "/p"}}),
		},
		"another user":     {auth(basic("jo", "ep"))},
		"a token's user":   {auth(jwt(`{"sub":"joe","exp":1,"iat":1,"jti":"a"}`, "s1")), auth(jwt(`{"exp":2,"sub":"joe","iat":2,"jti":"b"}`, "s2"))},
		"with other roles": {auth(jwt(`{"sub":"joe","exp":1,"_couchdb.roles":["_admin"]}`, "s"))},
		"another issuer's": {auth(jwt(`{"sub":"joe","exp":1,"iss":"i"}`, "s"))},
		"opaque token":     {auth(bearer("a.b.c"))},
		"another":          {auth(bearer("a.b.d"))},
		"no subject":       {auth(jwt(`{"exp":1}`, "s"))},
		"nor here":         {auth(jwt(`{"exp":2}`, "s"))},
		"token of a file":  {files("/t"), files("/t")},
		"of another file":  {files("/u")},
		"an account":       {iam(credential.Auth{APIKey: credential.Text("k")})},
		"another account":  {iam(credential.Auth{APIKey: credential.Text("l")})},
		"elsewhere":        {iam(credential.Auth{APIKey: credential.Text("k"), TokenURL: "http://i"})},
		"netrc":            {auth(credential.Auth{Kind: credential.Netrc})},
		"a user of netrc":  {auth(credential.Auth{Kind: credential.Netrc, User: "joe"})},
		"behind a proxy":   {proxy("http://u:p@proxy"), proxy("http://u:q@proxy")},
		"another proxy":    {proxy("http://u:p@proxy2")},
		"other authority":  {tls(credential.TLS{CA: credential.Text("ca")})},
		"none":             {tls(credential.TLS{InsecureSkipVerify: true})},
		"another name":     {tls(credential.TLS{ServerName: "n"})},
		"certificate":      {tls(credential.TLS{Cert: credential.Text("c"), Key: credential.Text("k")}), tls(credential.TLS{Cert: credential.Text("c"), Key: credential.Text("l")})},
		"header":           {header(http.Header{"A": {"b", "c"}})},
		"other header":     {header(http.Header{"A": {"b"}, "C": {}})},
	}
	seen := map[string]string{}
	for class, members := range classes {
		first := members[0].Identity()
		if other, ok := seen[first]; ok {
			t.Errorf("%s is the same as %s", class, other)
		}
		seen[first] = class
		for _, e := range members {
			if e.Identity() != first || endpoint.Identity(&millracev1.EndpointRef{Id: e.ID()}) != first {
				t.Errorf("%s: two members differ", class)
			}
		}
	}
}

func TestJobsWithOtherSettingsHaveEndpointsOfTheirOwn(t *testing.T) {
	patient := example()
	patient.ConnectionTimeout = time.Hour
	if patient.ID() == example().ID() || patient.Identity() != example().Identity() {
		t.Error("one job's settings would be the other's")
	}
}
