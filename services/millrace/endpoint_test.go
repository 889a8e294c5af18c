package main

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/credential"
	"millrace/pkg/millpond"
)

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestFlagsAndVariablesSayHowToReachADatabase(t *testing.T) {
	t.Setenv("NETRC", writeFile(t, "netrc", "default login anyone password of-netrc\n"))
	secret := writeFile(t, "secret", "hush\n")
	file := credential.Value{File: secret}
	for _, test := range []struct {
		name string
		url  string
		env  map[string]string
		args []string
		auth credential.Auth
		tls  credential.TLS
	}{
		{
			name: "token", args: []string{"--source-token-file", secret},
			auth: credential.Auth{Kind: credential.Bearer, Token: file},
		},
		{
			name: "token of the environment", env: map[string]string{"TOKEN": "t"},
			auth: credential.Auth{Kind: credential.Bearer, Token: credential.Text("t")},
		},
		{
			name: "API key", args: []string{"--source-iam-key-file", secret, "--source-iam-url", "http://iam.test/token"},
			auth: credential.Auth{Kind: credential.IAM, APIKey: file, TokenURL: "http://iam.test/token"},
		},
		{
			name: "API key of the environment", env: map[string]string{"IAM_API_KEY": "k"},
			auth: credential.Auth{Kind: credential.IAM, APIKey: credential.Text("k")},
		},
		{
			name: "password of a file", url: "http://joe@db.test/d", args: []string{"--source-password-file", secret},
			auth: credential.Auth{Kind: credential.Basic, User: "joe", Password: file},
		},
		{
			name: "and a user of the environment", env: map[string]string{"USER": "ann"}, args: []string{"--source-password-file", secret},
			auth: credential.Auth{Kind: credential.Basic, User: "ann", Password: file},
		},
		{
			name: "the URL's user before the environment's token", url: "http://u:p@db.test/d", env: map[string]string{"TOKEN": "t"},
			auth: credential.Auth{Kind: credential.Basic, User: "u", Password: credential.Text("p")},
		},
		{
			name: "netrc", args: []string{"--source-ca", secret, "--source-cert", secret, "--source-key", secret, "--source-server-name", "n", "--source-insecure"},
			auth: credential.Auth{Kind: credential.Basic, User: "anyone", Password: credential.Text("of-netrc")},
			tls:  credential.TLS{CA: file, Cert: file, Key: file, ServerName: "n", InsecureSkipVerify: true},
		},
		{
			name: "with a broker, files are read here", args: []string{"--nats", "nats://h", "--source-token-file", secret, "--source-ca", secret},
			auth: credential.Auth{Kind: credential.Bearer, Token: credential.Text("hush")},
			tls:  credential.TLS{CA: credential.Text("hush")},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.env {
				t.Setenv("MILLRACE_SOURCE_"+name, value)
			}
			if test.url == "" {
				test.url = "http://db.test/d"
			}
			spec, err := specOf("", append([]string{test.url, to}, test.args...)...)
			require.NoError(t, err)
			require.Equal(t, test.auth, spec.Source.Auth)
			require.Equal(t, test.tls, spec.Source.TLS)
			require.NotContains(t, fmt.Sprintf("%v %+v", spec.Spec, spec.Source.Auth), "hush")
		})
	}
}

func TestFlagsChangeADocumentsEndpoint(t *testing.T) {
	secret := writeFile(t, "secret", "hush\n")
	t.Setenv("MILLRACE_TARGET_PROXY", "socks5://u:p@proxy.test")
	spec, err := specOf(`{"source":{"url":"http://a/b","auth":{"basic":{"username":"u","password":"old"}},"headers":{"X":"y"}},"target":"http://joe:p@c/d"}`,
		"--document", "-", "--source-password-file", secret, "--target-token-file", secret, "--target-header", "X-A: 1:2")
	require.NoError(t, err)
	require.Equal(t, credential.Auth{Kind: credential.Basic, User: "u", Password: credential.Value{File: secret}}, spec.Source.Auth)
	require.Equal(t, "y", spec.Source.HTTPHeader().Get("X"))
	require.Equal(t, credential.Auth{Kind: credential.Bearer, Token: credential.Value{File: secret}}, spec.Target.Auth)
	require.Equal(t, "1:2", spec.Target.HTTPHeader().Get("X-A"))
	require.Equal(t, credential.Secret("socks5://u:p@proxy.test"), spec.Target.Proxy)
	require.Empty(t, spec.Source.Proxy)
}

func TestBadEndpointFlagsAreRefusedWithoutSecrets(t *testing.T) {
	secret := writeFile(t, "secret", "hush\n")
	t.Setenv("NETRC", filepath.Join(t.TempDir(), "none"))
	for _, args := range [][]string{
		{"http://a/b", "--source-token-file", secret, "--source-iam-key-file", secret},
		{"http://u:hush@a/b", "--source-token-file", secret},
		{"http://a/b", "--source-password-file", secret},
		{"http://a/b", "--source-ca", secret + "-none"},
		{"http://a/b", "--source-cert", secret},
		{"http://a/b", "--source-header", "hush"},
		{"http://a/b", "--source-proxy", "ftp://u:hush@h"},
		{"http://a/b", "--source-iam-key-file", secret, "--source-iam-url", "http://u:hush@h"},
	} {
		_, err := specOf("", append([]string{args[0], to}, args[1:]...)...)
		require.Error(t, err, args)
		require.NotContains(t, err.Error(), "hush")
	}
}

// verify and replicate reach what needs an authority, a token and a proxy.
func TestVerifyReachesADatabaseThatIsNotOpenToAll(t *testing.T) {
	pond := millpond.New(millpond.Options{})
	t.Cleanup(pond.Close)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" {
			http.Error(w, `{"error":"unauthorized"}`, http.StatusUnauthorized)
			return
		}
		pond.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	ca := writeFile(t, "ca", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	token := writeFile(t, "token", "t")
	put, err := http.NewRequestWithContext(t.Context(), http.MethodPut, server.URL+"/db", nil)
	require.NoError(t, err)
	put.Header.Set("Authorization", "Bearer t")
	resp, err := server.Client().Do(put)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	run := func(args ...string) error {
		root := newRootCommand()
		root.SetArgs(append([]string{"verify", server.URL + "/db", server.URL + "/db"}, args...))
		root.SetOut(&bytes.Buffer{})
		return root.ExecuteContext(t.Context())
	}
	t.Setenv("NETRC", filepath.Join(t.TempDir(), "none"))
	t.Setenv("MILLRACE_B_TOKEN", "t")
	require.NoError(t, run("--a-ca", ca, "--a-token-file", token, "--b-insecure"))
	require.Error(t, run("--a-ca", ca, "--b-insecure", "--rechecks", "0"))
}

func TestHelpGroupsTheFlags(t *testing.T) {
	var out bytes.Buffer
	root := newRootCommand()
	root.SetArgs([]string{"replicate", "--help"})
	root.SetOut(&out)
	require.NoError(t, root.ExecuteContext(t.Context()))
	help := out.String()
	at := -1
	for _, title := range []string{"What is replicated", "--continuous", "\nSource:", "--source-ca", "\nTarget:", "--target-ca", "\nThis program:", "--nats "} {
		next := strings.Index(help, title)
		require.Greater(t, next, at, title)
		at = next
	}
}
