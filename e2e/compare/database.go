package compare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// database is one of the two that are compared.
type database struct {
	address   string // without user
	user      *url.Userinfo
	transport *http.Transport
}

// row is what _changes says of a document.
type row struct {
	deleted bool
	leaves  []string // sorted
}

// String is for a report.
func (r row) String() string {
	if r.deleted {
		return "deleted, leaves " + strings.Join(r.leaves, " ")
	}
	return "leaves " + strings.Join(r.leaves, " ")
}

func open(address string) (*database, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("compare: a database has no valid URL") // which may have a password
	}
	db := &database{user: u.User, transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	u.User = nil
	db.address = strings.TrimRight(u.String(), "/")
	return db, nil
}

func (db *database) close() { db.transport.CloseIdleConnections() }

// changes reads which documents and leaves there are.
func (db *database) changes(ctx context.Context) (map[string]row, error) {
	body, err := db.get(ctx, "/_changes?style=all_docs")
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	rows := make(map[string]row)
	d := json.NewDecoder(body)
	if err := skipTo(d, "results"); err != nil {
		return nil, fmt.Errorf("read changes of %s: %w", db.address, err)
	}
	for d.More() {
		var r struct {
			ID      string `json:"id"`
			Deleted bool   `json:"deleted"`
			Changes []struct {
				Rev string `json:"rev"`
			} `json:"changes"`
		}
		if err := d.Decode(&r); err != nil {
			return nil, fmt.Errorf("read changes of %s: %w", db.address, err)
		}
		leaves := make([]string, 0, len(r.Changes))
		for _, c := range r.Changes {
			leaves = append(leaves, c.Rev)
		}
		slices.Sort(leaves)
		rows[r.ID] = row{deleted: r.Deleted, leaves: leaves}
	}
	// Only what comes after the rows says that the feed was not cut short.
	if err := finish(d); err != nil {
		return nil, fmt.Errorf("read changes of %s: %w", db.address, err)
	}
	return rows, nil
}

// skipTo reads up to the first element of the array that is the object's member.
func skipTo(d *json.Decoder, name string) error {
	for _, want := range []json.Token{json.Delim('{'), name, json.Delim('[')} {
		got, err := d.Token()
		if err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("found %v instead of %v", got, want)
		}
	}
	return nil
}

// finish reads from inside the object's array to the object's end.
func finish(d *json.Decoder) error {
	for depth := 2; depth > 0; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
	return nil
}

// leaves opens all leaves of a document, by revision.
func (db *database) leaves(ctx context.Context, id string) (map[string]leaf, error) {
	body, err := db.get(ctx, "/"+escapeID(id)+"?open_revs=all&revs=true&attachments=true&att_encoding_info=true")
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, fmt.Errorf("open %q in %s: %w", id, db.address, err)
	}
	var answers []struct {
		OK      json.RawMessage `json:"ok"`
		Missing string          `json:"missing"`
	}
	if err := json.Unmarshal(text, &answers); err != nil {
		return nil, fmt.Errorf("open %q in %s: %w", id, db.address, err)
	}
	leaves := make(map[string]leaf, len(answers))
	for _, answer := range answers {
		if answer.OK == nil {
			continue // a leaf that is missing is noticed against _changes
		}
		rev, l, err := parseLeaf(answer.OK)
		if err != nil {
			return nil, fmt.Errorf("open %q in %s: %w", id, db.address, err)
		}
		leaves[rev] = l
	}
	return leaves, nil
}

// get asks for JSON; the caller closes the body.
func (db *database) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, db.address+path, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("compare: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	if db.user != nil {
		password, _ := db.user.Password()
		req.SetBasicAuth(db.user.Username(), password)
	}
	res, err := db.transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("get %s%s: %w", db.address, path, err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer func() { _ = res.Body.Close() }()
	said, _ := io.ReadAll(io.LimitReader(res.Body, longest))
	return nil, fmt.Errorf("get %s%s: %s %s", db.address, path, res.Status, said)
}

// escapeID makes an id one segment of a path; of a design document, two. A plus
// sign is escaped too, because CouchDB reads it as a space.
func escapeID(id string) string {
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	if name, ok := strings.CutPrefix(id, "_design/"); ok {
		return "_design/" + escape(name)
	}
	return escape(id)
}
