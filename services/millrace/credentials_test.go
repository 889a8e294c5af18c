package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/credential"
)

const testNetrc = `# comment
machine other.test login other password no
machine db.test login joe password from-netrc
machine db.test login ann password of-ann
default login anyone password by-default
`

// withNetrc writes a netrc file and clears the environment of credentials.
func withNetrc(t *testing.T, text string) string {
	t.Helper()
	for _, name := range []string{"MILLRACE_A_USER", "MILLRACE_A_PASSWORD"} {
		t.Setenv(name, "")
	}
	path := filepath.Join(t.TempDir(), "netrc")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestCredentialsComeFromTheFirstPlaceThatHasThem(t *testing.T) {
	for _, test := range []struct {
		name, url, user, password string
		wantUser, wantPassword    string
	}{
		{name: "URL", url: "http://u:p%40@db.test/d", user: "env", password: "e", wantUser: "u", wantPassword: "p@"},
		{name: "environment", url: "http://db.test/d", user: "env", password: "e", wantUser: "env", wantPassword: "e"},
		{name: "password of the environment for the URL's user", url: "http://u@db.test/d", password: "e", wantUser: "u", wantPassword: "e"},
		{name: "another user's is not used", url: "http://ann@db.test/d", user: "env", password: "e", wantUser: "ann", wantPassword: "of-ann"},
		{name: "netrc, by host without port", url: "http://db.test:5984/d", wantUser: "joe", wantPassword: "from-netrc"},
		{name: "netrc, of the URL's user", url: "http://ann@db.test/d", wantUser: "ann", wantPassword: "of-ann"},
		{name: "netrc's default", url: "http://unknown.test/d", wantUser: "anyone", wantPassword: "by-default"},
		{name: "none for the URL's user", url: "http://u@db.test/d", wantUser: "u"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := withNetrc(t, testNetrc)
			t.Setenv("MILLRACE_A_USER", test.user)
			t.Setenv("MILLRACE_A_PASSWORD", test.password)
			ep, err := resolveEndpoint("A", test.url, path)
			require.NoError(t, err)
			require.Equal(t, test.wantUser, ep.Username)
			require.Equal(t, test.wantPassword, ep.Password)
			require.NotContains(t, fmt.Sprintf("%v %+v %#v", ep, ep, ep), "password")
		})
	}
}

func TestNetrcFileNeedOnlyExistIfItWasNamed(t *testing.T) {
	withNetrc(t, "")
	missing := filepath.Join(t.TempDir(), "none")
	t.Setenv("NETRC", missing)
	ep, err := resolveEndpoint("A", "http://db.test/d", "")
	require.NoError(t, err)
	require.Empty(t, ep.Username)
	_, err = resolveEndpoint("A", "http://db.test/d", missing)
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestNetrcFileComesFromTheEnvironment(t *testing.T) {
	t.Setenv("NETRC", withNetrc(t, testNetrc))
	ep, err := resolveEndpoint("A", "http://db.test/d", "")
	require.NoError(t, err)
	require.Equal(t, "joe", ep.Username)
}

func TestBrokenNetrcFileIsAnError(t *testing.T) {
	_, err := resolveEndpoint("A", "http://db.test/d", withNetrc(t, "machine db.test login joe password secret\nmachine"))
	require.ErrorIs(t, err, credential.ErrNetrc)
	require.NotContains(t, err.Error(), "secret")
}

func TestBadURLIsNotQuoted(t *testing.T) {
	_, err := resolveEndpoint("A", "http://u:secret@db.test:port/d", withNetrc(t, ""))
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secret")
}
