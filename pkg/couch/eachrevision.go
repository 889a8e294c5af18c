package couch

import (
	"context"
	"io"
)

// EachRevision reads revisions of a document, all leaves for none, and hands those that the database has to
// take, until it says that it is done. There are none where the document has no leaf left; a
// database that is not there is an error: what it had has not vanished from it, and may come
// again when it is created anew. What take is given is of use until it returns.
func (db *DB) EachRevision(ctx context.Context, id string, revs []string, o OpenRevsOptions, take func(*OpenRev) (done bool, err error)) error {
	answer, err := db.OpenRevs(ctx, id, revs, o)
	if IsNotFound(err) { // of the document, or of the database
		_, err := db.Info(ctx)
		return err
	}
	if err != nil {
		return err
	}
	defer answer.Close() //nolint:errcheck // nothing is written
	for {
		rev, err := answer.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if rev.Doc == nil {
			continue
		}
		if done, err := take(rev); done || err != nil {
			return err
		}
	}
}
