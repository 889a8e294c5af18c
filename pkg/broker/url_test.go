package broker

import (
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestURLsAreShownWithoutWhoConnects(t *testing.T) {
	for urls, shown := range map[string]string{
		"":                                   "nats://127.0.0.1:4222",
		"localhost:4222":                     "nats://localhost:4222",
		"user:secret@host:4222":              "nats://host:4222",
		"nats://secret@host":                 "nats://host",
		"tls://user:secret@a:1, nats://b:2":  "tls://a:1,nats://b:2",
		"nats://user:se/cret@host":           "(unreadable URL)",
		"nats://se#cret@host":                "(unreadable URL)",
		"nats://se?cret@host":                "(unreadable URL)",
		"nats://user:secret%zz@host":         "(unreadable URL)",
		"nats://user:secret@[::1":            "(unreadable URL)",
		"nats://user:secret@127.0.0.1:4222/": "nats://127.0.0.1:4222",
	} {
		require.Equal(t, shown, redactURL(urls), urls)
		if strings.Contains(shown, "unreadable") {
			require.ErrorIs(t, checkURL(urls), errUnreadableURL)
			continue
		}
		require.NoError(t, checkURL(urls), urls)
	}
}

// What is taken for a secret here never shows, however it was written.
func FuzzRedactURL(f *testing.F) {
	for _, secret := range []string{"secret", "se/cret", "se#cret", "se?cret@", "%zz", "[::1]", ":", "a b"} {
		f.Add("user", secret, "host:4222")
	}
	f.Fuzz(func(t *testing.T, user, secret, host string) {
		if strings.Contains(user+secret, ",") || strings.ContainsAny(host, ",@") || strings.Contains(user+host, secret) ||
			strings.Contains("nats://(unreadable URL)", secret) {
			return // a comma separates URLs; the others are no secrets
		}
		raw := "nats://" + user + ":" + secret + "@" + host
		require.NotContains(t, redactURL(raw), secret)
		encoded := (&url.URL{Scheme: "nats", User: url.UserPassword(user, secret), Host: host}).String()
		require.NotContains(t, redactURL(encoded), url.QueryEscape(secret))
	})
}
