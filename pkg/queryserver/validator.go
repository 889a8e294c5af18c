package queryserver

import (
	"errors"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Validator is the validate_doc_update function of one design document. The
// function is compiled at its first call: one that cannot be refuses documents.
// Safe for concurrent use; calls wait for one another. End it with Close.
type Validator struct {
	ddoc   []byte
	limits Limits

	mu     sync.Mutex
	engine *engine // nil until it is needed, and after one that failed
	closed bool
}

// NewValidator takes a design document as JSON.
func NewValidator(ddoc []byte, limits Limits) *Validator {
	return &Validator{ddoc: ddoc, limits: limits.withDefaults()}
}

// Call is what a validation function is called with, each as JSON.
type Call struct {
	NewDoc []byte
	// OldDoc is nil where there was none.
	OldDoc  []byte
	UserCtx []byte
	SecObj  []byte
}

// Validate calls the function. The error is a *Refusal if the document is not to
// be stored, for whatever reason.
func (v *Validator) Validate(c Call) error {
	if c.OldDoc == nil {
		c.OldDoc = []byte("null")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.start(); err != nil {
		return processError(err)
	}
	answer, err := v.engine.call("validate", c.NewDoc, c.OldDoc, c.UserCtx, c.SecObj)
	if err != nil { // the engine stopped it: nobody knows in which state it is
		v.stop()
		return processError(err)
	}
	return judge(jsontext.Value(answer)) // "undefined", if what was thrown has no JSON
}

// start makes an engine that has the design document. The lock is held.
func (v *Validator) start() (err error) {
	if v.closed {
		return errors.New("the validator is closed")
	}
	if v.engine == nil {
		v.engine, err = newEngine(v.ddoc, v.limits)
	}
	return err
}

// stop ends the engine. The lock is held.
func (v *Validator) stop() {
	if v.engine != nil {
		v.engine.close()
		v.engine = nil
	}
}

// Close ends the engine; later calls refuse.
func (v *Validator) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stop()
	v.closed = true
}
