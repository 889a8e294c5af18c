package queryserver

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Request is the second argument of a filter function: the request to _changes that it is run
// for. A zero field is what a request without such a thing has.
type Request struct {
	// Info is what GET /db answers, as JSON.
	Info jsontext.Value
	UUID string
	// Method is GET if it is empty.
	Method string
	// Path is that of the request in parts, unescaped; RawPath as it was sent, with its query.
	Path    []string
	RawPath string
	// Query is a JSON object. See [Query] for a replication's.
	Query jsontext.Value
	// Headers is a JSON object.
	Headers jsontext.Value
	// Body is JSON text; where it is empty, the body was.
	Body jsontext.Value
	Peer string
	// UserCtx and SecObj are JSON objects: of whom the source is read by, and the database's _security.
	UserCtx, SecObj jsontext.Value
}

func (r Request) json() ([]byte, error) {
	object := func(v jsontext.Value) jsontext.Value {
		if v == nil {
			return jsontext.Value("{}")
		}
		return v
	}
	if r.Method == "" {
		r.Method = "GET"
	}
	requested := r.Path
	if r.RawPath != "" { // as CouchDB has it
		requested = strings.Split(strings.TrimPrefix(r.RawPath, "/"), "/")
	}
	if r.Path == nil {
		r.Path, requested = []string{}, []string{}
	}
	body := r.Body
	if body == nil {
		body = jsontext.Value(`""`)
	}
	userCtx := r.UserCtx
	if userCtx == nil {
		userCtx = jsontext.Value(`{"db":"","name":null,"roles":[]}`)
	}
	text, err := json.Marshal(struct {
		Info          jsontext.Value `json:"info"`
		UUID          string         `json:"uuid"`
		ID            *string        `json:"id"`
		Method        string         `json:"method"`
		RequestedPath []string       `json:"requested_path"`
		Path          []string       `json:"path"`
		RawPath       string         `json:"raw_path"`
		Query         jsontext.Value `json:"query"`
		Headers       jsontext.Value `json:"headers"`
		Body          jsontext.Value `json:"body"`
		Peer          string         `json:"peer"`
		Form          struct{}       `json:"form"`
		Cookie        struct{}       `json:"cookie"`
		UserCtx       jsontext.Value `json:"userCtx"`
		SecObj        jsontext.Value `json:"secObj"`
	}{
		Info: object(r.Info), UUID: r.UUID, Method: r.Method, RequestedPath: requested, Path: r.Path, RawPath: r.RawPath,
		Query: object(r.Query), Headers: object(r.Headers), Body: body, Peer: r.Peer, UserCtx: userCtx, SecObj: object(r.SecObj),
	}, lenient)
	if err != nil {
		return nil, fmt.Errorf("write the request: %w", err)
	}
	return text, nil
}
