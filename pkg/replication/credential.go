package replication

import (
	"encoding/base64"
	"net/url"
	"strings"

	"millrace/pkg/replication/ejson"
)

// credential is a name and password, if given.
type credential struct {
	user     string
	password Secret
	// raw is the name as CouchDB takes it, for the replication id: a name that
	// stood in a URL keeps its percent escapes there.
	raw   string
	given bool
}

// first returns the credential that counts: that of the object's auth, else of
// the URL, else of the Authorization header.
func first(c ...credential) credential {
	for _, one := range c {
		if one.given {
			return one
		}
	}
	return credential{}
}

// userinfoCredential reads the part of a URL before the @. Without a colon it
// is no credential, as in CouchDB. Percent escapes are decoded, which CouchDB
// does not do: there, a password with an @ cannot be given in a URL.
func userinfoCredential(a address) credential {
	user, password, ok := strings.Cut(a.userinfo, ":")
	if !a.hasUser || !ok {
		return credential{}
	}
	return credential{user: unescape(user), password: Secret(unescape(password)), raw: user, given: true}
}

// unescape leaves alone what is not properly escaped.
func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}

// headerCredential reads the first Basic authorization. One that cannot be
// decoded is no credential, as in CouchDB.
func headerCredential(headers []Header) credential {
	for _, h := range foldCase(headers) {
		if isBasic(h) {
			_, encoded, _ := strings.Cut(string(h.Value), " ")
			return decodeBasic(encoded)
		}
	}
	return credential{}
}

func decodeBasic(encoded string) credential {
	packed := strings.Join(strings.Fields(encoded), "")
	b, err := base64.StdEncoding.DecodeString(packed)
	if err != nil {
		return credential{}
	}
	user, password, ok := strings.Cut(string(b), ":")
	if !ok {
		return credential{}
	}
	return credential{user: user, password: Secret(password), raw: user, given: true}
}

// authCredential reads the member auth of an endpoint. Other members than
// "basic" belong to authentication plugins and are ignored. CouchDB ignores a
// "basic" it cannot use as well, and then fails to log in; here it is refused.
func authCredential(field string, auth []byte) (credential, error) {
	members, err := ejson.Members(auth)
	if err != nil {
		return credential{}, mustBe(field, "a JSON object")
	}
	for _, m := range members {
		if m.Name == "basic" {
			return basicCredential(field+".basic", m.Value)
		}
	}
	return credential{}, nil
}

func basicCredential(field string, basic []byte) (credential, error) {
	wrong := mustBe(field, "an object with the strings `username` and `password`")
	members, err := ejson.Members(basic)
	if err != nil {
		return credential{}, wrong
	}
	c := credential{}
	var hasUser, hasPassword bool
	for _, m := range members {
		switch m.Name {
		case "username":
			c.user, err = asString(m.Value)
			hasUser = true
		case "password":
			var password string
			password, err = asString(m.Value)
			c.password, hasPassword = Secret(password), true
		}
		if err != nil {
			return credential{}, wrong
		}
	}
	if !hasUser || !hasPassword {
		return credential{}, wrong
	}
	c.raw, c.given = c.user, true
	return c, nil
}
