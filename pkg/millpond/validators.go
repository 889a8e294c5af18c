package millpond

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/queryserver"
)

const designPrefix = "_design/"

// validators keeps the validation functions of the databases.
type validators struct {
	mu     sync.Mutex
	of     map[string]*functions // by database
	limits queryserver.Limits
}

// functions are the validation functions of one database, in the order of their
// design documents. They are read when the first document is written, and again
// after a design document changed.
type functions struct {
	limits queryserver.Limits

	mu     sync.RWMutex // held by those who call the functions
	loaded bool
	list   []*queryserver.Validator
	broken error // a design document in a language that is not known
}

func (v *validators) named(name string) *functions {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = make(map[string]*functions)
	}
	f := v.of[name]
	if f == nil {
		f = &functions{limits: v.limits}
		v.of[name] = f
	}
	return f
}

// forget makes the functions of a database be read again. Call it after whatever
// may have changed a design document, and not while they are in use.
func (v *validators) forget(name string) {
	v.mu.Lock()
	f := v.of[name]
	v.mu.Unlock()
	if f != nil {
		f.unload()
	}
}

func (v *validators) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, f := range v.of {
		f.unload()
	}
}

func (f *functions) unload() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, v := range f.list {
		v.Close()
	}
	f.loaded, f.list, f.broken = false, nil, nil
}

// use reads the functions if need be. They stay as they are until done is called.
func (f *functions) use(ctx context.Context, db Database) (done func(), err error) {
	for {
		f.mu.RLock()
		if f.loaded {
			return f.mu.RUnlock, nil
		}
		f.mu.RUnlock()
		if err := f.load(ctx, db); err != nil {
			return nil, err
		}
	}
}

func (f *functions) load(ctx context.Context, db Database) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.loaded {
		return nil
	}
	ids, err := db.IDs(ctx)
	if err != nil {
		return err
	}
	at, _ := slices.BinarySearch(ids, designPrefix)
	for _, id := range ids[at:] {
		if !strings.HasPrefix(id, designPrefix) {
			break
		}
		doc, err := db.Doc(ctx, id)
		if err != nil {
			return err
		}
		if doc != nil && !doc.Tree.Winner().Deleted() {
			f.add(doc)
		}
	}
	f.loaded = true
	return nil
}

// add takes a design document's function, if it has one. The lock is held.
func (f *functions) add(doc *Doc) {
	var fields struct {
		Language string         `json:"language"`
		Validate jsontext.Value `json:"validate_doc_update"`
	}
	var r renderer
	text, err := r.appendDoc(nil, doc, doc.Tree.Winner(), false)
	if err != nil || json.Unmarshal(text, &fields, scanOptions) != nil || fields.Validate == nil {
		return
	}
	if fields.Language != "" && fields.Language != "javascript" {
		f.broken = &Error{Status: 500, Name: "unknown_query_language", Reason: fields.Language, row: true}
		return
	}
	f.list = append(f.list, queryserver.NewValidator(text, f.limits))
}

// none says whether every document passes.
func (f *functions) none() bool { return len(f.list) == 0 && f.broken == nil }

func (f *functions) validate(c queryserver.Call) error {
	if f.broken != nil {
		return f.broken
	}
	for _, v := range f.list {
		if err := v.Validate(c); err != nil {
			return refusalError(err)
		}
	}
	return nil
}
