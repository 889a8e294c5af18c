// Package queryserver runs the validation functions of design documents, as
// CouchDB's query server does: the same arguments, the same globals, the same
// answers. The engine is QuickJS, which CouchDB runs too, in Go (ADR 018).
//
// The code of a design document is not trusted: a function has a time, an amount
// of memory and a depth of calls, and nothing outside of its engine.
package queryserver

import (
	_ "embed"
	"fmt"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"modernc.org/quickjs"
)

//go:embed harness.js
var harness string

// Limits bound one call of a function. Zero values are the defaults.
type Limits struct {
	// Timeout ends a call. Default 5 s, CouchDB's os_process_timeout.
	Timeout time.Duration
	// Memory is what the engine may use, in bytes. Default 64 MiB, CouchDB's.
	Memory int
}

func (l Limits) withDefaults() Limits {
	if l.Timeout == 0 {
		l.Timeout = 5 * time.Second
	}
	if l.Memory == 0 {
		l.Memory = 64 << 20
	}
	return l
}

// Validator is the validate_doc_update function of one design document. The
// function is compiled at its first call: one that cannot be refuses documents.
// Safe for concurrent use; calls wait for one another. End it with Close.
type Validator struct {
	ddoc   string
	limits Limits

	mu     sync.Mutex
	vm     *quickjs.VM // nil until it is needed, and after an engine that failed
	closed bool
}

// NewValidator takes a design document as JSON.
func NewValidator(ddoc []byte, limits Limits) *Validator {
	return &Validator{ddoc: string(ddoc), limits: limits.withDefaults()}
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
	r, err := v.vm.Call("validate", string(c.NewDoc), string(c.OldDoc), string(c.UserCtx), string(c.SecObj))
	if err != nil { // the engine stopped it: nobody knows in which state it is
		v.stop()
		return processError(err)
	}
	text, _ := r.(string) // undefined, if what was thrown has no JSON
	return judge(jsontext.Value(text))
}

// start makes an engine that has the design document. The lock is held.
func (v *Validator) start() (err error) {
	if v.closed {
		return fmt.Errorf("the validator is closed")
	}
	if v.vm != nil {
		return nil
	}
	if v.vm, err = quickjs.NewVM(); err != nil {
		return fmt.Errorf("start the engine: %w", err)
	}
	v.vm.SetMemoryLimit(uintptr(v.limits.Memory))
	if err := v.vm.SetEvalTimeout(v.limits.Timeout); err != nil {
		v.stop()
		return fmt.Errorf("limit the engine: %w", err)
	}
	if _, err := v.vm.Eval(harness, quickjs.EvalGlobal); err != nil {
		v.stop()
		return fmt.Errorf("prepare the engine: %w", err)
	}
	if _, err := v.vm.Call("load", v.ddoc); err != nil {
		v.stop()
		return fmt.Errorf("load the design document: %w", err)
	}
	return nil
}

// stop ends the engine. The lock is held.
func (v *Validator) stop() {
	if v.vm != nil {
		_ = v.vm.Close() // its memory is freed; there is nothing else to fail
		v.vm = nil
	}
}

// Close ends the engine; later calls refuse.
func (v *Validator) Close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stop()
	v.closed = true
}
