// Package credential says how to log in to a database: with which secret, or where at the site
// that needs it the secret is kept. A document that names a file need not hold a password.
//
// A reference is a request to send the content of a file to a server of the document's choice.
// So a site reads only what its operator allows ([Rules]).
package credential

import (
	"log/slog"
	"path/filepath"
	"strings"
)

const masked = "*****"

// Secret is text that must not be shown (invariant 9): printed, logged or
// marshalled it is masked. Convert it to a string to use it.
type Secret string

func (s Secret) String() string { return masked }

// GoString masks the secret in %#v.
func (s Secret) GoString() string { return masked }

// LogValue masks the secret in structured logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalText masks the secret in JSON and other encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }

// Value is a secret, or where it is kept. At most one of the fields is set.
type Value struct {
	Text Secret
	// File is the absolute path of a file with the secret; a line's end at its end does not count.
	File string
	// Env is the name of a variable of the environment.
	Env string
}

// Text is a value that is known.
func Text(s string) Value { return Value{Text: Secret(s)} }

// IsZero reports whether there is no value.
func (v Value) IsZero() bool { return v == Value{} }

// IsReference reports whether the value is kept somewhere else.
func (v Value) IsReference() bool { return v.File != "" || v.Env != "" }

// Source names where the value is kept; it is empty for one that is known.
func (v Value) Source() string {
	switch {
	case v.File != "":
		return "file " + v.File
	case v.Env != "":
		return "variable " + v.Env
	}
	return ""
}

// Kind is a way to log in.
type Kind string

// The ways to log in.
const (
	// Nobody logs in.
	Nobody Kind = ""
	// Basic is a user and a password, for a session or with each request.
	Basic Kind = "basic"
	// Bearer is a token, such as a JWT.
	Bearer Kind = "bearer"
	// IAM is an API key of IBM Cloud, which is exchanged for tokens.
	IAM Kind = "iam"
	// Netrc is a user and a password of the site's netrc file.
	Netrc Kind = "netrc"
)

// Auth is how to log in. Fields of other kinds than Kind are empty.
type Auth struct {
	Kind Kind
	// User of Basic; of Netrc, where the file has several for the host, or empty.
	User string
	// Password of Basic.
	Password Value
	// Token of Bearer.
	Token Value
	// APIKey of IAM, and the address where it is exchanged; empty for IBM Cloud's.
	APIKey   Value
	TokenURL string
	// File of Netrc; empty for the one that the site is told.
	File string
}

// Source names where the secrets are kept; it is empty when all are known.
func (a Auth) Source() string {
	if a.Kind == Netrc {
		return "netrc " + a.File
	}
	return a.Password.Source() + a.Token.Source() + a.APIKey.Source()
}

// TLS is how https is spoken, in PEM or as the files that have it.
type TLS struct {
	// CA are the authorities that certify the server, in place of the system's.
	CA Value
	// Cert and Key are the client's: both or neither.
	Cert, Key Value
	// ServerName is the name in the server's certificate, where it is not the URL's host.
	ServerName string
	// InsecureSkipVerify takes any certificate.
	InsecureSkipVerify bool
}

// Source names the files; it is empty when there are none.
func (t TLS) Source() string { return t.CA.Source() + t.Cert.Source() + t.Key.Source() }

// CleanFile reports whether a document may write the path so: what is not absolute would depend
// on where a service happens to run.
func CleanFile(path string) bool {
	return filepath.IsAbs(path) && filepath.Clean(path) == path && !strings.ContainsRune(path, 0)
}

// CleanEnv reports whether name can be that of a variable.
func CleanEnv(name string) bool { return name != "" && !strings.ContainsAny(name, "=\x00") }
