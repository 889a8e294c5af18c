package endpoint

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	millracev1 "millrace/proto/millrace/v1"
)

// ErrUnknown is wrapped by the errors for an endpoint that the bucket lacks.
var ErrUnknown = errors.New("unknown endpoint")

// Store keeps the endpoints of one site, in a bucket where each site has its own
// keys: what a service may read can be limited to those of its site.
type Store struct {
	bucket jetstream.KeyValue
	site   string
	sealer *Sealer
}

// NewStore returns a site's store. The sealer may be nil.
func NewStore(bucket jetstream.KeyValue, site string, sealer *Sealer) *Store {
	return &Store{bucket: bucket, site: site, sealer: sealer}
}

func (s *Store) key(id string) string { return s.site + "." + id }

// Put stores the endpoint and returns the reference under which messages name
// it. Storing what is there already returns the version that is there, so that
// the clients that use it stay open.
func (s *Store) Put(ctx context.Context, e Endpoint) (*millracev1.EndpointRef, error) {
	id := e.ID()
	if entry, err := s.bucket.Get(ctx, s.key(id)); err == nil && s.stands(id, entry.Value(), e) {
		return &millracev1.EndpointRef{Id: id, Version: entry.Revision()}, nil
	}
	value, err := s.encode(id, e)
	if err != nil {
		return nil, err
	}
	revision, err := s.bucket.Put(ctx, s.key(id), value)
	if err != nil {
		return nil, fmt.Errorf("store endpoint %s: %w", e, err)
	}
	return &millracev1.EndpointRef{Id: id, Version: revision}, nil
}

// stands reports whether the value is the endpoint, sealed as this store would seal it:
// what was stored before there was a key, or with another one, is stored anew.
func (s *Store) stands(id string, value []byte, e Endpoint) bool {
	var p millracev1.Endpoint
	if err := proto.Unmarshal(value, &p); err != nil || p.KeyId != s.sealer.keyID() {
		return false
	}
	there, err := s.decode(id, value)
	return err == nil && same(there, e)
}

// Get returns the endpoint in the version that ref names or a newer one, with
// the version that it has.
func (s *Store) Get(ctx context.Context, ref *millracev1.EndpointRef) (Endpoint, uint64, error) {
	entry, err := s.bucket.Get(ctx, s.key(ref.GetId()))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Endpoint{}, 0, fmt.Errorf("%w %s", ErrUnknown, ref.GetId())
	}
	if err != nil {
		return Endpoint{}, 0, fmt.Errorf("read endpoint %s: %w", ref.GetId(), err)
	}
	e, err := s.decode(ref.GetId(), entry.Value())
	return e, entry.Revision(), err
}

// same reports whether two endpoints are so in every respect.
func same(a, b Endpoint) bool {
	x, errX := json.Marshal(a.secret())
	y, errY := json.Marshal(b.secret())
	return errX == nil && errY == nil && a.URL == b.URL && a.Settings == b.Settings && bytes.Equal(x, y)
}
