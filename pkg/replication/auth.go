package replication

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/credential"
	"millrace/pkg/ejson"
)

// authLogin reads the member auth of an endpoint: CouchDB's `basic`, Cloudant's `iam`, and
// our `bearer` and `netrc`; at most one of them. Other members belong to authentication plugins
// of CouchDB and are ignored. CouchDB ignores a `basic` it cannot use as well, and then
// fails to log in; here it is refused.
func authLogin(field string, auth jsontext.Value) (login, error) {
	members, err := ejson.Members(auth)
	if err != nil {
		return login{}, mustBe(field, "a JSON object")
	}
	found := login{}
	for _, m := range members {
		read, ok := map[string]func(string, jsontext.Value) (credential.Auth, error){
			"basic": basicAuth, "bearer": bearerAuth, "iam": iamAuth, "netrc": netrcAuth,
		}[m.Name]
		if !ok {
			continue
		}
		if found.given {
			return login{}, refuse(field, "parameter `%s` has more than one way to log in", field)
		}
		if found.auth, err = read(field+"."+m.Name, m.Value); err != nil {
			return login{}, err
		}
		found.raw, found.given = found.auth.User, true
	}
	return found, nil
}

func basicAuth(field string, v jsontext.Value) (a credential.Auth, err error) {
	a.Kind = credential.Basic
	wrong := mustBe(field, "an object with the string `username` and one of `password`, `password_file` and `password_env`")
	m, err := memberMap(v)
	if err != nil {
		return a, wrong
	}
	if a.User, err = asString(m["username"]); err != nil {
		return a, wrong
	}
	a.Password, err = oneValue(field, "password", m, wrong)
	return a, err
}

func bearerAuth(field string, v jsontext.Value) (a credential.Auth, err error) {
	a.Kind = credential.Bearer
	wrong := mustBe(field, "an object with one of `token`, `token_file` and `token_env`")
	m, err := memberMap(v)
	if err != nil {
		return a, wrong
	}
	if a.Token, err = oneValue(field, "token", m, wrong); err != nil {
		return a, err
	}
	if strings.ContainsAny(string(a.Token.Text), "\r\n") {
		return a, refuse(field+".token", "parameter `%s.token` cannot be sent in a header", field)
	}
	return a, only(field, m, "token", "token_file", "token_env")
}

func iamAuth(field string, v jsontext.Value) (a credential.Auth, err error) {
	a.Kind = credential.IAM
	wrong := mustBe(field, "an object with one of `api_key`, `api_key_file` and `api_key_env`")
	m, err := memberMap(v)
	if err != nil {
		return a, wrong
	}
	if a.APIKey, err = oneValue(field, "api_key", m, wrong); err != nil {
		return a, err
	}
	if u, ok := m["token_url"]; ok {
		raw, err := asString(u)
		at, ok := parseAddress(raw, "http", "https")
		if err != nil || !ok || at.hasUser {
			return a, invalidURL(field+".token_url", "token server")
		}
		a.TokenURL = raw
	}
	return a, only(field, m, "api_key", "api_key_file", "api_key_env", "token_url")
}

// netrcAuth reads true, or an object with a user and a file.
func netrcAuth(field string, v jsontext.Value) (a credential.Auth, err error) {
	a.Kind = credential.Netrc
	wrong := mustBe(field, "true, or an object with the strings `username` and `file`")
	if v.Kind() == 't' {
		return a, nil
	}
	m, err := memberMap(v)
	if err != nil {
		return a, wrong
	}
	for name, dst := range map[string]*string{"username": &a.User, "file": &a.File} {
		if value, ok := m[name]; ok {
			if *dst, err = asString(value); err != nil {
				return a, wrong
			}
		}
	}
	if a.File != "" && !credential.CleanFile(a.File) {
		return a, mustBe(field+".file", "an absolute path")
	}
	return a, only(field, m, "username", "file")
}

// parseTLS reads the member tls of an endpoint, which is ours.
func parseTLS(field string, v jsontext.Value) (t credential.TLS, err error) {
	if v == nil {
		return t, nil
	}
	m, err := memberMap(v)
	if err != nil {
		return t, mustBe(field, "a JSON object")
	}
	for name, dst := range map[string]*credential.Value{"ca": &t.CA, "cert": &t.Cert, "key": &t.Key} {
		_, text := m[name]
		_, file := m[name+"_file"]
		if !text && !file {
			continue
		}
		wrong := refuse(field, "parameter `%s` needs one of `%s` and `%[2]s_file`, in PEM", field, name)
		if *dst, err = oneValue(field, name, m, wrong); err != nil {
			return t, err
		}
	}
	if name, ok := m["server_name"]; ok {
		if t.ServerName, err = asString(name); err != nil {
			return t, mustBe(field+".server_name", "a string")
		}
	}
	if skip, ok := m["insecure_skip_verify"]; ok {
		if err := asBool(field+".insecure_skip_verify", skip, &t.InsecureSkipVerify); err != nil {
			return t, err
		}
	}
	if t.Cert.IsZero() != t.Key.IsZero() {
		return t, refuse(field, "parameter `%s` needs both a certificate and its key", field)
	}
	return t, only(field, m, "ca", "ca_file", "cert", "cert_file", "key", "key_file", "server_name", "insecure_skip_verify")
}

// oneValue reads exactly one of name, name_file and name_env.
func oneValue(field, name string, m map[string]jsontext.Value, wrong error) (v credential.Value, err error) {
	given := 0
	for _, suffix := range []string{"", "_file", "_env"} {
		raw, ok := m[name+suffix]
		if !ok {
			continue
		}
		given++
		text, err := asString(raw)
		if err != nil || text == "" && name != "password" {
			return credential.Value{}, wrong
		}
		switch suffix {
		case "":
			v.Text = Secret(text)
		case "_file":
			v.File = text
			if !credential.CleanFile(text) {
				return v, mustBe(field+"."+name+suffix, "an absolute path")
			}
		default:
			v.Env = text
			if !credential.CleanEnv(text) {
				return v, mustBe(field+"."+name+suffix, "the name of a variable")
			}
		}
	}
	if given != 1 {
		return credential.Value{}, wrong
	}
	return v, nil
}

func memberMap(v jsontext.Value) (map[string]jsontext.Value, error) {
	members, err := ejson.Members(v)
	if err != nil {
		return nil, err
	}
	m := make(map[string]jsontext.Value, len(members))
	for _, one := range members {
		m[one.Name] = one.Value
	}
	return m, nil
}

// only refuses members that are not known: what is misspelt here would be a log-in that
// fails, or a certificate that is not asked for.
func only(field string, m map[string]jsontext.Value, known ...string) error {
	for name := range m {
		if !slices.Contains(known, name) {
			return refuse(field+"."+name, "parameter `%s` has no member `%s`", field, name)
		}
	}
	return nil
}
