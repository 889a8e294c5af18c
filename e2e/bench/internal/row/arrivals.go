package row

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/e2e/bench/internal/server"
)

// arrivals tells when changes appear at a database. It follows the
// database's feed instead of asking again and again for the document, which
// would take a core from those that are measured.
type arrivals struct {
	rows   chan server.Row
	cancel context.CancelFunc
	ended  chan struct{} // closed when err is set and the feed is let go
	err    error
}

// watch begins to follow the database; the caller must call stop.
func watch(ctx context.Context, db *server.Database) *arrivals {
	ctx, cancel := context.WithCancel(ctx)
	a := &arrivals{rows: make(chan server.Row, 16), cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		a.err = db.Follow(ctx, func(row server.Row) error {
			select {
			case a.rows <- row:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	return a
}

// stop ends the watching and waits for its end.
func (a *arrivals) stop() {
	a.cancel()
	<-a.ended
}

// errReplicationEnded is a continuous replication that ended by itself.
var errReplicationEnded = errors.New("the continuous replication ended")

// await returns when the document with the id appeared, passing over others.
// It fails if ctx ends, or the feed, or the replication.
func (a *arrivals) await(ctx context.Context, id string, replication <-chan struct{}) (time.Time, error) {
	for {
		select {
		case row := <-a.rows:
			if row.ID == id {
				return row.At, nil
			}
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		case <-a.ended:
			return time.Time{}, fmt.Errorf("watch the target: %w", a.err)
		case <-replication:
			return time.Time{}, errReplicationEnded
		}
	}
}
