package queryserver

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Options of [Filters]. Zero values are the defaults.
type Options struct {
	// Limits of each call.
	Limits Limits
	// Idle is how long an engine that nobody uses is kept. Default 5 min, CouchDB's
	// os_process_idle_limit.
	Idle time.Duration
	// MaxIdle is how many engines are kept that nobody uses; each has some hundred kilobytes, and
	// what its code keeps. Default 4 for each processor.
	MaxIdle int
	// Log takes what functions log, if it is not nil, but for what is beyond 4 kB of a call.
	Log func(f *Filter, message string)
}

// Filters runs filter functions of any number of design documents. It is safe for
// concurrent use. End it with Close.
//
// Each call has an engine to itself. Engines are kept for later calls of functions of
// the same design document and scope, as CouchDB keeps its processes, so that a function may find
// what an earlier call left in its globals; but none that had an error.
type Filters struct {
	options Options
	pool    pool
}

// NewFilters returns a runner of filters without any engine.
func NewFilters(options Options) *Filters {
	options.Limits = options.Limits.withDefaults()
	if options.Idle == 0 {
		options.Idle = 5 * time.Minute
	}
	if options.MaxIdle == 0 {
		options.MaxIdle = 4 * runtime.GOMAXPROCS(0)
	}
	return &Filters{options: options, pool: pool{idle: options.Idle, max: options.MaxIdle}}
}

// Close frees the engines that are not in use, and the others when their calls end; later calls fail.
func (f *Filters) Close() { f.pool.close() }

// Function names a filter.
type Function struct {
	// Scope says who may share an engine: what functions of the same design document
	// in the same scope leave behind in their globals, they see of one another.
	// The identity of a source, for example.
	Scope string
	// DesignDoc is the document as JSON.
	DesignDoc []byte
	// View is whether Name is that of a view, whose map function selects what it emits
	// anything for. Otherwise it is one of `filters`.
	View bool
	Name string
	// Request is what the function gets beside a document.
	Request Request
}

// Filter is one filter with its parameters. It is safe for concurrent use, and needs no closing.
type Filter struct {
	filters *Filters
	ddoc    []byte
	key     [sha256.Size]byte
	path    []byte // JSON
	request []byte // a JSON string, with the JSON of the request in it

	// DesignDoc is the id of the design document.
	DesignDoc string
	// Path is where the function stands in it, such as "filters.name".
	Path string
}

// ErrClosed is wrapped by errors of calls after Close.
var ErrClosed = errors.New("the filters are closed")

// Compile returns the filter. As in CouchDB the function's source is compiled with the first
// document, and what is wrong with it is an error of that. Errors are *[FilterError]: the
// design document has no such function, or is in another language than JavaScript.
func (f *Filters) Compile(fn Function) (*Filter, error) {
	var ddoc struct {
		ID       string         `json:"_id"`
		Language jsontext.Value `json:"language"`
	}
	if err := json.Unmarshal(fn.DesignDoc, &ddoc, lenient); err != nil {
		return nil, fmt.Errorf("read the design document: %w", err)
	}
	path, where := []string{"filters", fn.Name}, "filters."+fn.Name
	member := path
	if fn.View {
		path, where = []string{"views", fn.Name, "map"}, "views."+fn.Name+".map"
		member = path[:2]
	}
	request, err := fn.Request.json()
	if err != nil {
		return nil, err
	}
	quoted, err := json.Marshal(path, lenient)
	if err != nil {
		return nil, fmt.Errorf("name a function: %w", err)
	}
	compiled := &Filter{
		filters: f, ddoc: fn.DesignDoc, path: quoted, request: quote(string(request)), DesignDoc: ddoc.ID, Path: where,
		key: keyOf(fn.Scope, fn.DesignDoc),
	}
	if _, err := memberAt(fn.DesignDoc, member); err != nil {
		return nil, compiled.failed("", err)
	}
	if language := string(ddoc.Language); language != "" && language != `"javascript"` {
		return nil, compiled.failed("", &thrown{name: "unknown_query_language", reason: jsontext.Value(language)})
	}
	return compiled, nil
}

func keyOf(scope string, ddoc []byte) (key [sha256.Size]byte) {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s", len(scope), scope)
	h.Write(ddoc)
	h.Sum(key[:0])
	return key
}

// Match says for each document whether it is chosen. Documents are JSON, as a function is to
// see them (see rawdoc.Plain). The answers are as many as were decided: fewer than documents with
// an error, which is a *[FilterError] about the document that follows them, or is ctx's,
// which then ended; a call under way is stopped.
func (f *Filter) Match(ctx context.Context, docs ...[]byte) ([]bool, error) {
	answers := make([]bool, 0, len(docs))
	if len(docs) == 0 {
		return answers, nil
	}
	if err := ctx.Err(); err != nil {
		return answers, err
	}
	e, err := f.filters.pool.take(f.key, func() (*engine, error) { return newEngine(f.ddoc, f.filters.options.Limits) })
	if err != nil {
		return answers, f.failed(idOf(docs[0]), err)
	}
	stop := context.AfterFunc(ctx, e.interrupt)
	for _, doc := range docs {
		chosen, err := f.decide(e, doc)
		if err != nil {
			stop()
			e.close() // in whatever state it is
			if ctx.Err() != nil && errors.Is(err, errInterrupted) {
				return answers, ctx.Err()
			}
			return answers, f.failed(idOf(doc), err)
		}
		answers = append(answers, chosen)
	}
	if !stop() { // it has been stopped, or will be
		e.close()
		return answers, nil
	}
	f.filters.pool.put(f.key, e)
	return answers, nil
}

// decide asks the function about one document.
func (f *Filter) decide(e *engine, doc []byte) (bool, error) {
	if e.selected != f {
		if _, err := e.call("select", f.path, f.request); err != nil {
			return false, err
		}
		e.selected = f
	}
	text, err := e.call("run", doc)
	if err != nil {
		return false, err
	}
	switch text {
	case "1":
		return true, nil
	case "0":
		return false, nil
	}
	var said struct {
		Answer  jsontext.Value `json:"answer"`
		Message string         `json:"message"`
		Log     []string       `json:"log"`
	}
	if err := json.Unmarshal([]byte(text), &said, lenient); err != nil {
		return false, fmt.Errorf("an answer that is none: %w", err)
	}
	if f.filters.options.Log != nil {
		for _, line := range said.Log {
			f.filters.options.Log(f, line)
		}
	}
	if kind := said.Answer.Kind(); kind == 't' || kind == 'f' {
		return kind == 't', nil
	}
	return false, thrownOf(said.Answer, said.Message)
}

// lenient reads what CouchDB stores.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

func idOf(doc []byte) string {
	var d struct {
		ID string `json:"_id"`
	}
	_ = json.Unmarshal(doc, &d, lenient) // a document that is none has no id
	return d.ID
}

// Source returns the source of a filter function, of which a replication id is made. The error
// is CouchDB's: a *[FilterError] where the function is not there.
func Source(ddoc []byte, name string) (string, error) {
	value, err := memberAt(ddoc, []string{"filters", name})
	if err == nil && value.Kind() != '"' {
		err = &thrown{name: "badarg", reason: quote("no text")}
	}
	if err != nil {
		return "", (&Filter{DesignDoc: idOf(ddoc), Path: "filters." + name}).failed("", err)
	}
	return text(value), nil
}

// memberAt walks into a design document. The error is CouchDB's.
func memberAt(at jsontext.Value, path []string) (jsontext.Value, error) {
	for _, name := range path {
		var members map[string]jsontext.Value
		if at.Kind() != '{' || json.Unmarshal(at, &members, lenient) != nil {
			return nil, &thrown{name: "not_found", reason: quote("json_mismatch")}
		}
		next, ok := members[name]
		if !ok {
			return nil, &thrown{name: "not_found", reason: quote("missing json key: " + name)}
		}
		at = next
	}
	return at, nil
}
