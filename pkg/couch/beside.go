package couch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
)

// besideTries is how many names are tried for a local document that is in the shard of another
// one: with 64 shards one of them is, as good as always.
const besideTries = 400

// WriteBeside writes and removes a local document in the shard of the document id. An error says
// that the server cannot write there at all now, whatever the document.
//
// It tells a document at which the server fails from a server, or a shard, that fails: for one
// of them a replication has to wait, and for the other one nobody ever needs to.
func (db *DB) WriteBeside(ctx context.Context, id string) error {
	name, err := db.nameBeside(ctx, id)
	if err == nil {
		_, err = db.PutLocal(ctx, name, struct{}{})
	}
	if err == nil {
		err = db.removeLocal(ctx, name)
	}
	if err != nil {
		return fmt.Errorf("write beside %q: %w", id, err)
	}
	return nil
}

// ReadBeside is [DB.WriteBeside] for reading: it looks for a local document that is not there.
func (db *DB) ReadBeside(ctx context.Context, id string) error {
	name, err := db.nameBeside(ctx, id)
	if err == nil {
		err = db.GetLocal(ctx, name, &struct{}{})
	}
	if err != nil && !IsNotFound(err) {
		return fmt.Errorf("read beside %q: %w", id, err)
	}
	if err == nil {
		return fmt.Errorf("read beside %q: the server has what nobody wrote", id)
	}
	_, err = db.Info(ctx) // the database may be what is not there
	return err
}

func (db *DB) removeLocal(ctx context.Context, name string) error {
	r := db.request(http.MethodDelete, "_local/"+escape(name))
	r.query = url.Values{"rev": {"0-1"}} // CouchDB takes any
	err := db.call(ctx, r, nil)
	if IsNotFound(err) { // a repetition
		return nil
	}
	return err
}

// nameBeside is the name of a local document, which nobody else has, in the shard of the document id.
func (db *DB) nameBeside(ctx context.Context, id string) (string, error) {
	shard, err := db.shardOf(ctx, id)
	if err != nil {
		return "", err
	}
	for range besideTries {
		name := "millrace-probe-" + rand.Text()
		if shard == "" {
			return name, nil
		}
		other, err := db.shardOf(ctx, "_local/"+name)
		if err != nil {
			return "", err
		}
		if other == shard {
			return name, nil
		}
	}
	return "", fmt.Errorf("no name in shard %s", shard)
}

// shardOf is the range of the shard that has a document; empty where the server has none, or does
// not say.
func (db *DB) shardOf(ctx context.Context, id string) (string, error) {
	var answer struct {
		Range string `json:"range"`
	}
	err := db.call(ctx, db.request(http.MethodGet, "_shards/"+escape(id)), into(&answer))
	var refused *HTTPError
	if errors.As(err, &refused) && refused.Status >= 400 && refused.Status < 500 && Classify(err) == Permanent {
		return "", nil
	}
	return answer.Range, err
}
