package program

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"strings"
)

// printed is how much of a process's output a failed test prints, in bytes: the
// beginning and the end of it.
const printed = 4 << 10

func abridged(o *Output) string {
	text := o.String()
	if len(text) <= 2*printed {
		return text
	}
	return text[:printed] + "\n[...]\n" + text[len(text)-printed:]
}

// checkSecrets fails the test if the process has printed one.
func (p *Process) checkSecrets(secrets []*regexp.Regexp) {
	for _, secret := range secrets {
		for _, out := range []*Output{p.Stdout, p.Stderr} {
			text := out.String()
			if at := secret.FindStringIndex(text); at != nil {
				p.t.Errorf("%s prints a credential: ...%s...", p.Name, text[max(0, at[0]-100):min(len(text), at[1]+20)])
			}
		}
	}
}

// secrets are what must not be printed of arguments or variables with a user and a
// password: the two together, plain and as the header has them, and the password as
// a word.
func secrets(args []string) []*regexp.Regexp {
	var found []*regexp.Regexp
	for _, arg := range args {
		_, rest, isURL := strings.Cut(arg, "://")
		if !isURL {
			continue
		}
		u, err := url.Parse("http://" + rest)
		if err != nil || u.User == nil {
			continue
		}
		password, _ := u.User.Password()
		both := u.User.Username() + ":" + password
		for _, secret := range []string{both, base64.StdEncoding.EncodeToString([]byte(both)), u.User.String()} {
			found = append(found, regexp.MustCompile(regexp.QuoteMeta(secret)))
		}
		if password != "" {
			found = append(found, regexp.MustCompile(`\b`+regexp.QuoteMeta(password)+`\b`))
		}
	}
	return found
}
