package credential_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/credential"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func rule(t *testing.T, text string) credential.Rule {
	t.Helper()
	r, err := credential.ParseRule(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Who may submit jobs must not have the site's files sent to a server of theirs.
func TestFilesAreReadOnlyBelowWhatIsAllowed(t *testing.T) {
	dir := t.TempDir()
	open, bound, outside := filepath.Join(dir, "open"), filepath.Join(dir, "bound"), write(t, filepath.Join(dir, "outside"), "no")
	inside := write(t, filepath.Join(open, "sub", "password"), "hush\r\n")
	ours := write(t, filepath.Join(bound, "password"), "ours")
	write(t, filepath.Join(dir, "open-not", "x"), "no")
	for link, to := range map[string]string{"out": outside, "up": "../outside", "alias": "sub/password"} {
		if err := os.Symlink(to, filepath.Join(open, link)); err != nil {
			t.Fatal(err)
		}
	}
	pipe := filepath.Join(open, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	large := write(t, filepath.Join(open, "large"), strings.Repeat("x", 1<<20+1))
	rules := credential.Rules{Files: []credential.Rule{rule(t, open), rule(t, "db.test="+bound)}}
	any, none := credential.Rules{Any: true}, credential.Rules{}
	direct, detour, elsewhere := credential.Use{Host: "DB.test"}, credential.Use{Host: "db.test", Detour: true}, credential.Use{Host: "evil.test"}
	for _, test := range []struct {
		rules credential.Rules
		file  string
		use   credential.Use
		want  string
		err   error
	}{
		{none, inside, direct, "", credential.ErrNotAllowed},
		{any, outside, elsewhere, "no", nil},
		{any, "relative", direct, "", credential.ErrNotAllowed},
		{rules, inside, elsewhere, "hush", nil},
		{rules, filepath.Join(open, "alias"), elsewhere, "hush", nil},
		{rules, ours, direct, "ours", nil},
		{rules, ours, detour, "", credential.ErrNotAllowed},
		{rules, ours, elsewhere, "", credential.ErrNotAllowed},
		{rules, outside, direct, "", credential.ErrNotAllowed},
		{rules, open + "/../outside", direct, "", credential.ErrNotAllowed},
		{rules, open + "-not/x", direct, "", credential.ErrNotAllowed},
		{rules, filepath.Join(open, "out"), direct, "", credential.ErrUnavailable},
		{rules, filepath.Join(open, "up"), direct, "", credential.ErrUnavailable},
		{rules, filepath.Join(open, "none"), direct, "", credential.ErrUnavailable},
		{rules, open, direct, "", credential.ErrUnavailable},
		{rules, pipe, direct, "", credential.ErrUnavailable},
		{rules, large, direct, "", credential.ErrUnavailable},
	} {
		got, err := test.rules.Read(credential.Value{File: test.file}, test.use)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s for %v: %q, %v", test.file, test.use, got, err)
		}
	}
}

func TestVariablesAreReadOnlyWithAnAllowedPrefix(t *testing.T) {
	for _, name := range []string{"DB_PASSWORD", "OURS_PASSWORD", "PATH_OF_SECRETS"} {
		t.Setenv(name, "hush")
	}
	rules := credential.Rules{Env: []credential.Rule{rule(t, "DB_"), rule(t, "db.test=OURS_")}}
	for _, test := range []struct {
		rules credential.Rules
		name  string
		host  string
		err   error
	}{
		{rules, "DB_PASSWORD", "evil.test", nil},
		{rules, "OURS_PASSWORD", "db.test", nil},
		{rules, "OURS_PASSWORD", "evil.test", credential.ErrNotAllowed},
		{rules, "PATH_OF_SECRETS", "db.test", credential.ErrNotAllowed},
		{rules, "DB_MISSING", "db.test", credential.ErrUnavailable},
		{credential.Rules{Any: true}, "PATH_OF_SECRETS", "db.test", nil},
		{credential.Rules{}, "DB_PASSWORD", "db.test", credential.ErrNotAllowed},
	} {
		got, err := test.rules.Read(credential.Value{Env: test.name}, credential.Use{Host: test.host})
		if !errors.Is(err, test.err) || (got == "hush") != (test.err == nil) {
			t.Errorf("%s for %s: %q, %v", test.name, test.host, got, err)
		}
	}
}

func TestEntriesOfANetrcFileAreForTheirHosts(t *testing.T) {
	netrc := write(t, filepath.Join(t.TempDir(), "netrc"), `machine db.test login joe password of-joe
machine db.test login ann password of-ann
default login anyone password by-default
`)
	ours, all := credential.Rules{Netrc: netrc}, credential.Rules{Any: true, Netrc: netrc}
	for _, test := range []struct {
		rules      credential.Rules
		path, user string
		use        credential.Use
		password   string
		err        error
	}{
		{ours, "", "", credential.Use{Host: "db.test"}, "of-joe", nil},
		{ours, "", "ann", credential.Use{Host: "db.test"}, "of-ann", nil},
		{ours, netrc, "ann", credential.Use{Host: "db.test"}, "of-ann", nil},
		{ours, "", "eve", credential.Use{Host: "db.test"}, "", credential.ErrUnavailable},
		{ours, "", "", credential.Use{Host: "db.test", Detour: true}, "", credential.ErrUnavailable},
		{ours, "", "", credential.Use{Host: "evil.test"}, "", credential.ErrUnavailable},
		{ours, "/etc/hosts", "", credential.Use{Host: "db.test"}, "", credential.ErrNotAllowed},
		{credential.Rules{}, "", "", credential.Use{Host: "db.test"}, "", credential.ErrNotAllowed},
		{credential.Rules{}, netrc, "", credential.Use{Host: "db.test"}, "", credential.ErrNotAllowed},
		{all, "", "", credential.Use{Host: "other.test", Detour: true}, "by-default", nil},
	} {
		got, err := test.rules.Login(test.path, test.user, test.use)
		if got.Password != test.password || !errors.Is(err, test.err) {
			t.Errorf("%q %v: %q, %v", test.user, test.use, got.Password, err)
		}
	}
}

func TestBrokenNetrcFileIsAnError(t *testing.T) {
	_, err := credential.ParseNetrc("machine db.test login joe password secret\nmachine", "db.test")
	if !errors.Is(err, credential.ErrNetrc) || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestRulesThatSayNothingAreRefused(t *testing.T) {
	for _, text := range []string{"", "=", "=x", "h="} {
		if r, err := credential.ParseRule(text); err == nil {
			t.Errorf("%q became %v", text, r)
		}
	}
}

func TestNothingPrintsASecret(t *testing.T) {
	a := credential.Auth{Kind: credential.Basic, User: "u", Password: credential.Text("hush"), Token: credential.Text("hush"), APIKey: credential.Text("hush")}
	s := credential.TLS{Key: credential.Text("hush")}
	encoded, err := json.Marshal([]any{a, s})
	if err != nil {
		t.Fatal(err)
	}
	if shown := fmt.Sprintf("%v %+v %#v %v %+v %#v %s", a, a, a, s, s, s, encoded); strings.Contains(shown, "hush") {
		t.Error(shown)
	}
}
