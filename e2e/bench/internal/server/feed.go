package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Row is one change of a live feed.
type Row struct {
	ID  string
	Rev string    // of the winner
	At  time.Time // when its line had been read
}

// errFeedEnded is a live feed that the server closed.
var errFeedEnded = errors.New("the server ended the feed")

// Follow reads the database's continuous feed from its beginning and hands
// every row to each, one at a time, until that fails or ctx ends. It always
// returns an error.
//
// There is no since=now: a server may hold its answer's header back until it
// has a row to send, so a client could not tell from when on it listens.
func (d *Database) Follow(ctx context.Context, each func(Row) error) error {
	target := "/" + d.name + "/_changes?feed=continuous&style=all_docs&since=0&heartbeat=10000"
	resp, err := d.server.send(ctx, http.MethodGet, target, "", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return errFeedEnded
		}
		if err != nil {
			return fmt.Errorf("follow changes: %w", err)
		}
		at := time.Now()
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue // a heartbeat
		}
		row, err := parseRow(line)
		if err != nil {
			return fmt.Errorf("follow changes: %w", err)
		}
		row.At = at
		if err := each(row); err != nil {
			return err
		}
	}
}

// parseRow reads one line of a continuous feed.
func parseRow(line []byte) (Row, error) {
	var change struct {
		ID      string `json:"id"`
		Changes []struct {
			Rev string `json:"rev"`
		} `json:"changes"`
	}
	if err := json.Unmarshal(line, &change); err != nil {
		return Row{}, err
	}
	if len(change.Changes) == 0 {
		return Row{}, errFeedEnded // {"last_seq": ...} closes a feed
	}
	return Row{ID: change.ID, Rev: change.Changes[0].Rev}, nil
}
