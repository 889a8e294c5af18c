package telemetry_test

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"millrace/pkg/telemetry"
)

func TestRedactRemovesUserinfoAndNothingElse(t *testing.T) {
	cases := map[string]string{
		"":                                     "",
		"no URL, but joe@example.com":          "no URL, but joe@example.com",
		"http://host:5984/db":                  "http://host:5984/db",
		"http://adm:pass@host:5984/db":         "http://*****@host:5984/db",
		"HTTPS://token@host":                   "HTTPS://*****@host",
		"http://adm:p@ss@host/db":              "http://*****@host/db",
		"http://adm:p%40ss%2F@host/db":         "http://*****@host/db",
		"nats://a:b@n1:4222,nats://c:d@n2":     "nats://*****@n1:4222,nats://*****@n2",
		"nats://a:b@n1:4222,c:d@n2":            "nats://*****@n2",
		"http://host/db/org.couchdb.user:j@x":  "http://host/db/org.couchdb.user:j@x",
		"http://host/db?a=b@c":                 "http://host/db?a=b@c",
		"http://[::1]:5984/a@b":                "http://[::1]:5984/a@b",
		"http://[::1]/a@b":                     "http://[::1]/a@b",
		"http://adm:pa/ss@host/db":             "http://*****@host/db",
		`Get "http://a:b@h/x": EOF`:            `Get "http://*****@h/x": EOF`,
		"from http://a:b@h/x to http://c:d@i/": "from http://*****@h/x to http://*****@i/",
		"http://*****@h/x":                     "http://*****@h/x",
		"://":                                  "://",
		"://@":                                 "://*****@",
	}
	for in, want := range cases {
		if got := telemetry.Redact(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

func TestRedactedTextNeverHoldsThePassword(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const marker = "S3CRET"
		password := rapid.String().Draw(t, "before") + marker + rapid.String().Draw(t, "after")
		u := url.URL{Scheme: "http", Host: "host:5984", Path: "/" + rapid.String().Draw(t, "path")}
		bare := u.String()
		u.User = url.UserPassword(rapid.String().Draw(t, "user"), password)
		before := rapid.StringMatching(`[a-z :"@]*`).Draw(t, "text before")
		after := rapid.StringMatching(`([ "][a-z :@]*)?`).Draw(t, "text after")

		got := telemetry.Redact(before + u.String() + after)
		if want := before + strings.Replace(bare, "://", "://*****@", 1) + after; got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func FuzzRedactIsIdempotent(f *testing.F) {
	for _, seed := range []string{"http://a:b@c/d", "://@://@", "x://a:b/c@d e://f@g", "a://b://c@d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		once := telemetry.Redact(text)
		if twice := telemetry.Redact(once); twice != once {
			t.Errorf("%q, then %q", once, twice)
		}
	})
}

func TestRedactAllocatesNothingWhereNothingIsSecret(t *testing.T) {
	text := `level=INFO msg="wrote batch" url=http://host:5984/db docs=500`
	if n := testing.AllocsPerRun(100, func() { telemetry.Redact(text) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
