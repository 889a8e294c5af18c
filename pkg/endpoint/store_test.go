package endpoint_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"millrace/pkg/broker/brokertest"
	"millrace/pkg/couch"
	"millrace/pkg/credential"
	"millrace/pkg/endpoint"
	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = "correct-horse"

func example() endpoint.Endpoint {
	return endpoint.Endpoint{
		URL: "http://127.0.0.1:1/db", Auth: basic("joe", password),
		Headers: http.Header{"X-Token": {"battery-staple"}},
	}
}

func basic(user, password string) credential.Auth {
	return credential.Auth{Kind: credential.Basic, User: user, Password: credential.Text(password)}
}

func bucket(t *testing.T) jetstream.KeyValue {
	t.Helper()
	b := brokertest.Start(t)
	kv, err := b.JetStream().KeyValue(t.Context(), b.Buckets().Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

func key(fill byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{fill}, 32)) }

func sealer(t *testing.T, key string) *endpoint.Sealer {
	t.Helper()
	s, err := endpoint.NewSealer(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s *endpoint.Store, e endpoint.Endpoint) *millracev1.EndpointRef {
	t.Helper()
	ref, err := s.Put(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// stored is what stands in the bucket.
func stored(t *testing.T, kv jetstream.KeyValue, ref *millracev1.EndpointRef) []byte {
	t.Helper()
	entry, err := kv.Get(t.Context(), "here."+ref.Id)
	if err != nil {
		t.Fatal(err)
	}
	return entry.Value()
}

func secretIn(value []byte) bool {
	return bytes.Contains(value, []byte(password)) || bytes.Contains(value, []byte("battery-staple"))
}

func TestSealedEndpointComesBackAndCannotBeReadInTheBucket(t *testing.T) {
	kv := bucket(t)
	s := endpoint.NewStore(kv, "here", sealer(t, key(1)))
	ref := put(t, s, example())
	if secretIn(stored(t, kv, ref)) {
		t.Error("the credential can be read in the bucket")
	}
	got, version, err := s.Get(t.Context(), ref)
	if err != nil || version != ref.Version {
		t.Fatalf("version %d of %d, %v", version, ref.Version, err)
	}
	want := example()
	if got.Auth != want.Auth || got.URL != want.URL || got.Headers.Get("X-Token") != "battery-staple" {
		t.Errorf("got %v", got)
	}
}

func TestCredentialOpensWithItsKeyAtItsEndpointOnly(t *testing.T) {
	kv := bucket(t)
	ref := put(t, endpoint.NewStore(kv, "here", sealer(t, key(1))), example())
	for name, with := range map[string]*endpoint.Sealer{"another key": sealer(t, key(2)), "no key": nil} {
		if _, _, err := endpoint.NewStore(kv, "here", with).Get(t.Context(), ref); !errors.Is(err, endpoint.ErrSealed) {
			t.Errorf("with %s: %v", name, err)
		}
	}
	if _, err := kv.Put(t.Context(), "here.moved", stored(t, kv, ref)); err != nil {
		t.Fatal(err)
	}
	_, _, err := endpoint.NewStore(kv, "here", sealer(t, key(1))).Get(t.Context(), &millracev1.EndpointRef{Id: "moved"})
	if !errors.Is(err, endpoint.ErrSealed) {
		t.Errorf("moved to another endpoint: %v", err)
	}
}

func TestKeyOfAnotherSizeIsRefusedWithoutRepeatingIt(t *testing.T) {
	for _, bad := range []string{"c2hvcnQ=", "not base64!", strings.Repeat("A", 100)} {
		if _, err := endpoint.NewSealer(bad); err == nil || strings.Contains(err.Error(), bad) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// At rest credentials are encrypted when a key is configured, also those that were stored
// before there was one (invariant 9).
func TestStoringAgainSealsWithTheKeyThatThereIsNow(t *testing.T) {
	kv := bucket(t)
	first := put(t, endpoint.NewStore(kv, "here", nil), example())
	if !secretIn(stored(t, kv, first)) {
		t.Fatal("without a key the credential is expected to be readable")
	}
	second := put(t, endpoint.NewStore(kv, "here", sealer(t, key(1))), example())
	if secretIn(stored(t, kv, second)) {
		t.Error("the credential of before can still be read")
	}
	third := put(t, endpoint.NewStore(kv, "here", sealer(t, key(2))), example())
	if _, _, err := endpoint.NewStore(kv, "here", sealer(t, key(2))).Get(t.Context(), third); err != nil {
		t.Errorf("after the key was changed: %v", err)
	}
}

func TestVersionChangesOnlyWithTheEndpoint(t *testing.T) {
	s := endpoint.NewStore(bucket(t), "here", sealer(t, key(1)))
	first, again := put(t, s, example()), put(t, s, example())
	if again.Version != first.Version {
		t.Errorf("version %d became %d without a change", first.Version, again.Version)
	}
	rotated := example()
	rotated.Auth = basic("joe", "another")
	second := put(t, s, rotated)
	if second.Id != first.Id || second.Version <= first.Version {
		t.Errorf("with another password %v became %v", first, second)
	}
	other := example()
	other.Auth = basic("jane", password)
	if third := put(t, s, other); third.Id == first.Id {
		t.Error("two users share an endpoint")
	}
}

func TestUnknownEndpointIsAnErrorOfItsOwn(t *testing.T) {
	s := endpoint.NewStore(bucket(t), "here", nil)
	if _, _, err := s.Get(t.Context(), &millracev1.EndpointRef{Id: "nobody"}); !errors.Is(err, endpoint.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestSitesDoNotSeeEachOthersEndpoints(t *testing.T) {
	kv := bucket(t)
	ref := put(t, endpoint.NewStore(kv, "here", nil), example())
	if _, _, err := endpoint.NewStore(kv, "there", nil).Get(t.Context(), ref); !errors.Is(err, endpoint.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

func TestPoolKeepsOneClientPerEndpointAndTheNewestVersion(t *testing.T) {
	s := endpoint.NewStore(bucket(t), "here", nil)
	pool := endpoint.NewPool(s, credential.Rules{}, couch.Options{})
	defer pool.Close()
	old := put(t, s, example())
	first, err := pool.DB(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := pool.DB(t.Context(), old); again != first {
		t.Error("the same version was opened twice")
	}
	rotated := example()
	rotated.Auth = basic("joe", "another")
	newer, err := pool.DB(t.Context(), put(t, s, rotated))
	if err != nil || newer == first {
		t.Fatalf("a newer version was not opened: %v", err)
	}
	// A message that was published before the change names the old version.
	if late, _ := pool.DB(t.Context(), old); late != newer {
		t.Error("an old reference brought the old credential back")
	}
}

func TestNoRetriesMeansNone(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests++
		http.Error(w, `{"error":"x"}`, http.StatusServiceUnavailable)
	}))
	defer server.Close()
	s := endpoint.NewStore(bucket(t), "here", nil)
	pool := endpoint.NewPool(s, credential.Rules{}, couch.Options{})
	defer pool.Close()
	db, err := pool.DB(t.Context(), put(t, s, endpoint.Endpoint{URL: server.URL + "/db"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Info(t.Context()); err == nil || requests != 1 {
		t.Errorf("%d requests, %v", requests, err)
	}
}
