package replication

import (
	"encoding/base64"
	"net/url"
	"strings"

	"millrace/pkg/credential"
)

// login is how to log in, if that was given.
type login struct {
	auth credential.Auth
	// raw is the name as CouchDB takes it, for the replication id: a name that
	// stood in a URL keeps its percent escapes there.
	raw   string
	given bool
}

func basicLogin(user, password, raw string) login {
	return login{
		auth: credential.Auth{Kind: credential.Basic, User: user, Password: credential.Text(password)},
		raw:  raw, given: true,
	}
}

// first returns the log-in that counts: that of the object's auth, else of
// the URL, else of the Authorization header.
func first(l ...login) login {
	for _, one := range l {
		if one.given {
			return one
		}
	}
	return login{}
}

// userinfoCredential reads the part of a URL before the @. Without a colon it
// is no credential, as in CouchDB. Percent escapes are decoded, which CouchDB
// does not do: there, a password with an @ cannot be given in a URL.
func userinfoCredential(a address) login {
	user, password, ok := strings.Cut(a.userinfo, ":")
	if !a.hasUser || !ok {
		return login{}
	}
	return basicLogin(unescape(user), unescape(password), user)
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
func headerCredential(headers []Header) login {
	for _, h := range foldCase(headers) {
		if isBasic(h) {
			_, encoded, _ := strings.Cut(string(h.Value), " ")
			return decodeBasic(encoded)
		}
	}
	return login{}
}

func decodeBasic(encoded string) login {
	packed := strings.Join(strings.Fields(encoded), "")
	b, err := base64.StdEncoding.DecodeString(packed)
	if err != nil {
		return login{}
	}
	user, password, ok := strings.Cut(string(b), ":")
	if !ok {
		return login{}
	}
	return basicLogin(user, password, user)
}
