package couch

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// GetLocal decodes the local document _local/id into v, with encoding/json. A
// missing one is [IsNotFound].
func (db *DB) GetLocal(ctx context.Context, id string, v any) error {
	return db.call(ctx, db.request(http.MethodGet, "_local/"+escape(id)), into(v))
}

// PutLocal writes v as the local document _local/id and returns its revision. v
// holds the revision that it replaces as `_rev`. CouchDB 3 takes any; where a server
// does compare, [IsConflict] says that there is another, which may be v itself if
// the answer to a first try was lost: read it again and compare.
func (db *DB) PutLocal(ctx context.Context, id string, v any) (string, error) {
	doc, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode _local/%s: %w", id, err)
	}
	return db.write(ctx, "_local/"+escape(id), nil, doc)
}
