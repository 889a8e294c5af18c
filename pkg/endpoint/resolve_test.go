package endpoint_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"millrace/pkg/couch"
	"millrace/pkg/credential"
	"millrace/pkg/endpoint"
)

// seen is a server that remembers the Authorization of requests and takes one of them.
type seen struct {
	mu    sync.Mutex
	takes string
	all   []string
}

func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.URL.Path == "/_session":
		w.WriteHeader(http.StatusNotFound)
	case r.URL.Path == "/token":
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":3600}`, "of "+r.FormValue("apikey"))
	default:
		user, password, ok := r.BasicAuth()
		got := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		if ok {
			got = user + "/" + password
		}
		s.all = append(s.all, got)
		if s.takes != "" && got != s.takes {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"db_name":"db"}`)
	}
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// every is an endpoint of each kind, with secrets that it has, and with secrets it refers to.
func every(t *testing.T, url string) map[string]endpoint.Endpoint {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("MILLRACE_TEST_SECRET", "of-env")
	file := credential.Value{File: write(t, filepath.Join(dir, "file"), "of-file\n")}
	env := credential.Value{Env: "MILLRACE_TEST_SECRET"}
	netrc := write(t, filepath.Join(dir, "netrc"), "machine 127.0.0.1 login joe password of-netrc\n")
	all := map[string]endpoint.Endpoint{}
	add := func(want string, a credential.Auth) {
		all[want] = endpoint.Endpoint{URL: url + "/db", Auth: a}
	}
	add("", credential.Auth{})
	add("joe/p", basic("joe", "p"))
	add("joe/of-file", credential.Auth{Kind: credential.Basic, User: "joe", Password: file})
	add("joe/of-env", credential.Auth{Kind: credential.Basic, User: "joe", Password: env})
	add("t", bearer("t"))
	add("of-file", credential.Auth{Kind: credential.Bearer, Token: file})
	add("of k", credential.Auth{Kind: credential.IAM, APIKey: credential.Text("k"), TokenURL: url + "/token"})
	add("of of-env", credential.Auth{Kind: credential.IAM, APIKey: env, TokenURL: url + "/token"})
	add("joe/of-netrc", credential.Auth{Kind: credential.Netrc, File: netrc})
	return all
}

func TestEveryKindOfEndpointSurvivesTheBucketAndLogsIn(t *testing.T) {
	s := &seen{}
	server := httptest.NewServer(s)
	defer server.Close()
	for _, seal := range []string{"", key(1)} {
		store := endpoint.NewStore(bucket(t), "here", sealer(t, seal))
		pool := endpoint.NewPool(store, credential.Rules{Any: true}, couch.Options{})
		for want, e := range every(t, server.URL) {
			e.Owner = "ann"
			e.Settings = endpoint.Settings{HTTPConnections: 3}
			ref := put(t, store, e)
			got, _, err := store.Get(t.Context(), ref)
			if err != nil || got.ID() != e.ID() || got.Auth != e.Auth || got.Owner != "ann" || got.Settings != e.Settings {
				t.Errorf("%q came back as %v, %v", want, got, err)
			}
			db, err := pool.DB(t.Context(), ref)
			if err != nil {
				t.Errorf("%q: %v", want, err)
				continue
			}
			s.all = nil
			if _, err := db.Info(t.Context()); err != nil || len(s.all) != 1 || s.all[0] != want {
				t.Errorf("logged in as %q, want %q: %v", s.all, want, err)
			}
		}
		pool.Close()
	}
}

func TestConnectionSettingsSurviveTheBucket(t *testing.T) {
	store := endpoint.NewStore(bucket(t), "here", sealer(t, key(1)))
	e := example()
	e.Proxy = "socks5://u:hush@p"
	e.TLS = credential.TLS{
		CA: credential.Value{File: "/ca"}, Cert: credential.Text("cert"), Key: credential.Text("hush"), ServerName: "n", InsecureSkipVerify: true,
	}
	ref := put(t, store, e)
	got, _, err := store.Get(t.Context(), ref)
	if err != nil || got.Proxy != e.Proxy || got.TLS != e.TLS {
		t.Errorf("%v", err)
	}
	e.TLS.Key = credential.Text("another")
	if again := put(t, store, e); again.Id != ref.Id || again.Version == ref.Version {
		t.Error("a new key is a new version")
	}
}

func TestSiteFollowsNoReferencesUnlessItIsTold(t *testing.T) {
	store := endpoint.NewStore(bucket(t), "here", nil)
	pool := endpoint.NewPool(store, credential.Rules{}, couch.Options{})
	defer pool.Close()
	endpoints := every(t, "http://127.0.0.1:1")
	for _, known := range []string{"", "joe/p", "t", "of k"} {
		delete(endpoints, known)
	}
	files := credential.Value{File: "/etc/hosts"}
	endpoints["ca"] = endpoint.Endpoint{URL: "https://h/db", TLS: credential.TLS{CA: files}}
	endpoints["key"] = endpoint.Endpoint{URL: "https://h/db", TLS: credential.TLS{Cert: files, Key: files}}
	for name, e := range endpoints {
		_, err := pool.DB(t.Context(), put(t, store, e))
		if !errors.Is(err, credential.ErrNotAllowed) || couch.Classify(err) != couch.Permanent {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The document chooses the proxy, the authorities and where keys are exchanged: a secret that
// is for one host would be handed to whoever sits there.
func TestSecretsForOneHostTakeNoDetour(t *testing.T) {
	dir := t.TempDir()
	file := credential.Value{File: write(t, filepath.Join(dir, "p"), "hush")}
	rules := credential.Rules{Files: []credential.Rule{{Host: "h", Below: dir}}}
	direct := endpoint.Endpoint{URL: "https://h:1/db", Auth: credential.Auth{Kind: credential.Basic, User: "u", Password: file}}
	open := func(e endpoint.Endpoint) error {
		db, err := e.Open(couch.NewPool(nil), rules, couch.Options{})
		if err == nil {
			db.Close()
		}
		return err
	}
	if err := open(direct); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(nil)
	server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	certified := direct
	certified.TLS.CA = credential.Value{File: write(t, filepath.Join(dir, "ca"), string(ca))}
	if err := open(certified); err != nil {
		t.Errorf("by an authority that is the operator's: %v", err)
	}
	for name, change := range map[string]func(*endpoint.Endpoint){
		"another host": func(e *endpoint.Endpoint) { e.URL = "https://evil/db" },
		"proxy":        func(e *endpoint.Endpoint) { e.Proxy = "http://evil" },
		"authority":    func(e *endpoint.Endpoint) { e.TLS.CA = credential.Text("pem") },
		"any":          func(e *endpoint.Endpoint) { e.TLS.InsecureSkipVerify = true },
		"name":         func(e *endpoint.Endpoint) { e.TLS.ServerName = "evil" },
		"exchange": func(e *endpoint.Endpoint) {
			e.Auth = credential.Auth{Kind: credential.IAM, APIKey: file, TokenURL: "https://evil"}
		},
	} {
		e := direct
		change(&e)
		if err := open(e); !errors.Is(err, credential.ErrNotAllowed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatIsRefusedIsReadAgain(t *testing.T) {
	s := &seen{takes: "joe/old"}
	server := httptest.NewServer(s)
	defer server.Close()
	path := write(t, filepath.Join(t.TempDir(), "p"), "old")
	e := endpoint.Endpoint{URL: server.URL + "/db", Auth: credential.Auth{Kind: credential.Basic, User: "joe", Password: credential.Value{File: path}}}
	db, err := e.Open(couch.NewPool(nil), credential.Rules{Any: true}, couch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, password := range []string{"old", "new", "newer"} {
		write(t, path, password+"\n")
		s.takes = "joe/" + password
		if _, err := db.Info(t.Context()); err != nil {
			t.Errorf("with the password %q: %v", password, err)
		}
	}
}

func TestCertificatesOfFilesAreUsed(t *testing.T) {
	server := httptest.NewTLSServer(&seen{})
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	e := endpoint.Endpoint{URL: server.URL + "/db", TLS: credential.TLS{CA: credential.Value{File: write(t, filepath.Join(t.TempDir(), "ca"), string(ca))}}}
	db, err := e.Open(couch.NewPool(nil), credential.Rules{Any: true}, couch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Info(t.Context()); err != nil {
		t.Error(err)
	}
}
