package queryserver

import (
	_ "embed"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"modernc.org/libc"
	lib "modernc.org/libquickjs"
)

//go:embed harness.js
var harness string

// Limits bound one call of a function. Zero values are the defaults.
type Limits struct {
	// Timeout is how much processor time a call may take: on a machine with much to do a good function
	// is not ended for waiting. Where that is not known (outside of Linux) it is the time that goes by. Default 5 s,
	// CouchDB's os_process_timeout.
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

// grace is how long an engine has to notice that its time is over: code of the document does
// at once, a built-in function that goes through an array of 2^53 elements never.
func (e *engine) grace() time.Duration {
	return min(e.timeout/20, 250*time.Millisecond) + 10*time.Millisecond
}

// startTime is how long an engine may take to start. None of the document's code runs yet.
const startTime = time.Minute

var (
	// errInterrupted says that a call was ended for the time that it took, or by interrupt.
	errInterrupted = errors.New("interrupted")
	errNoMemory    = errors.New("out of memory")
)

// engine is one instance of QuickJS with a design document. But for interrupt it is not
// safe for concurrent use. After an error of call it may be in any state, and has to be closed.
//
// It stands on the C interface, because CouchDB runs every function and module in a
// realm of its own (harness.js), and modernc.org/quickjs has one for each engine.
type engine struct {
	timeout time.Duration
	tls     *libc.TLS
	region  []byte  // all that the engine allocates
	runtime uintptr // JSRuntime
	realm   uintptr // JSContext of the harness
	buffer  uintptr // for text on its way into the engine
	size    int     // of buffer
	clock   *clock
	watch   *time.Timer // kills; runs during calls

	// selected is the filter that was called last.
	selected *Filter

	mu      sync.Mutex
	calling bool
	killed  bool
	closed  bool
}

// clock is how long a call may go on. It is not in the engine's memory, and not in Go's, of whose
// addresses the engine must have none.
type clock struct {
	budget time.Duration // of processor time
	thread int32         // that of the call
	before time.Duration // what the thread had used
	look   int64         // when it may be over, in ticks: no thread uses more time than goes by
	stop   atomic.Bool
	ended  bool // a call because of this clock
}

// start begins a call on the present thread.
func (c *clock) start(budget time.Duration) {
	c.budget, c.thread, c.look = budget, threadClock(), ticks()+int64(budget)
	c.before, _ = usedTime(c.thread)
}

// left is how much of its time the call has, and of some more, once as much went by.
func (c *clock) left(more time.Duration) time.Duration {
	used, ok := usedTime(c.thread)
	if !ok {
		return 0
	}
	return c.budget + more - (used - c.before)
}

var began = time.Now()

// ticks are nanoseconds that no change of the system's clock moves.
func ticks() int64 { return int64(time.Since(began)) }

// interrupted is what the engine asks while it runs.
func interrupted(_ *libc.TLS, _, address uintptr) int32 {
	c := (*clock)(unsafe.Add(nil, address))
	if !c.stop.Load() {
		now := ticks()
		if now < c.look {
			return 0
		}
		if left := c.left(0); left > 0 {
			c.look = now + int64(left)
			return 0
		}
	}
	c.ended = true
	return 1
}

// callback is a Go function, which has to be none of a closure, as C sees it.
func callback(f any) uintptr {
	type words [2]uintptr
	return (*words)(unsafe.Pointer(&f))[1]
}

// newEngine loads a design document, which is JSON.
func newEngine(ddoc []byte, limits Limits) (*engine, error) {
	// What is freed is not always used again, so there is more room than may be in use.
	region, err := newRegion(2*limits.Memory + 1<<20)
	if err != nil {
		return nil, fmt.Errorf("memory for an engine: %w", err)
	}
	e := &engine{timeout: limits.Timeout, tls: libc.NewTLS(), region: region}
	e.watch = time.AfterFunc(time.Hour, e.overdue)
	e.watch.Stop()
	address := libc.Xcalloc(e.tls, 1, libc.Tsize_t(unsafe.Sizeof(clock{})))
	if address == 0 {
		e.close()
		return nil, errNoMemory
	}
	e.clock = (*clock)(unsafe.Add(nil, address))
	err = e.guard(startTime, func() error {
		if err := e.prepare(limits); err != nil {
			return err
		}
		_, err := e.run("load", [][]byte{ddoc})
		return err
	})
	if err != nil {
		e.close()
		return nil, fmt.Errorf("prepare the engine: %w", err)
	}
	return e, nil
}

func (e *engine) prepare(limits Limits) error {
	size := int(unsafe.Sizeof(lib.TJSMallocFunctions{}))
	address := e.tls.Alloc(size)
	defer e.tls.Free(size)
	*(*lib.TJSMallocFunctions)(unsafe.Add(nil, address)) = lib.TJSMallocFunctions{
		Fjs_malloc: callback(heapAlloc), Fjs_free: callback(heapFree),
		Fjs_realloc: callback(heapResize), Fjs_malloc_usable_size: callback(heapUsable),
	}
	heap := newHeap(e.region)
	e.runtime = lib.XJS_NewRuntime2(e.tls, address, uintptr(unsafe.Pointer(heap)))
	if e.runtime == 0 {
		return errNoMemory
	}
	lib.XJS_SetMemoryLimit(e.tls, e.runtime, libc.Tsize_t(limits.Memory))
	lib.XJS_SetInterruptHandler(e.tls, e.runtime, callback(interrupted), uintptr(unsafe.Pointer(e.clock)))
	if e.realm = realmOf(e.tls, e.runtime); e.realm == 0 {
		return errNoMemory
	}
	global := lib.XJS_GetGlobalObject(e.tls, e.realm)
	defer e.free(global)
	name, err := e.text("newRealm")
	if err != nil {
		return err
	}
	fn := lib.XJS_NewCFunction2(e.tls, e.realm, callback(newRealm), name, 0, lib.EJS_CFUNC_generic, 0)
	lib.XJS_SetPropertyStr(e.tls, e.realm, global, name, fn) // and frees fn
	source, err := e.text(harness)
	if err != nil {
		return err
	}
	v := lib.XJS_Eval(e.tls, e.realm, source, libc.Tsize_t(len(harness)), source+uintptr(len(harness)), lib.MJS_EVAL_TYPE_GLOBAL)
	e.free(v)
	return e.exception()
}

// newRealm is a function of JavaScript that returns the globals of a new realm. What of
// them is referred to keeps the realm.
func newRealm(tls *libc.TLS, ctx uintptr, _ lib.TJSValue, _ int32, _ uintptr) lib.TJSValue {
	realm := realmOf(tls, lib.XJS_GetRuntime(tls, ctx))
	if realm == 0 {
		return lib.XJS_ThrowOutOfMemory(tls, ctx)
	}
	defer lib.XJS_FreeContext(tls, realm)
	return lib.XJS_GetGlobalObject(tls, realm)
}

// realmOf makes a realm with the globals that CouchDB's query server has, and no others:
// Promise, Proxy and typed arrays, for example, are not there. It is 0 where there is no memory.
func realmOf(tls *libc.TLS, runtime uintptr) uintptr {
	realm := lib.XJS_NewContextRaw(tls, runtime)
	if realm == 0 {
		return 0
	}
	for _, add := range []func(*libc.TLS, uintptr) int32{
		lib.XJS_AddIntrinsicBaseObjects, lib.XJS_AddIntrinsicEval, lib.XJS_AddIntrinsicJSON,
		lib.XJS_AddIntrinsicRegExp, lib.XJS_AddIntrinsicMapSet, lib.XJS_AddIntrinsicDate,
	} {
		if add(tls, realm) != 0 {
			lib.XJS_FreeContext(tls, realm)
			return 0
		}
	}
	return realm
}

// call calls a function of the harness with arguments that are JSON, and returns the text
// that it answers with.
func (e *engine) call(function string, args ...[]byte) (answer string, err error) {
	err = e.guard(e.timeout, func() error {
		answer, err = e.run(function, args)
		return err
	})
	return answer, err
}

// guard lets the engine run within its time. Where it was killed, it faults, as it may
// by an error of its own: that is an error here, and the end of this engine alone.
func (e *engine) guard(limit time.Duration, run func() error) (err error) {
	runtime.LockOSThread() // the thread's time is the call's
	defer runtime.UnlockOSThread()
	if !e.begin(limit) {
		return errInterrupted
	}
	defer func(before bool) {
		debug.SetPanicOnFault(before)
		fault := recover()
		if ended := e.end(); ended != nil {
			err = ended
		} else if fault != nil {
			err = fmt.Errorf("the engine failed: %v", fault)
		}
	}(debug.SetPanicOnFault(true))
	return run()
}

// begin starts the time of a call, unless there is none any more.
func (e *engine) begin(limit time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.killed || e.clock.stop.Load() { // interrupted between two calls
		return false
	}
	e.calling = true
	e.clock.start(limit)
	e.watch.Reset(limit + e.grace())
	return true
}

// end says whether the time is over.
func (e *engine) end() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.watch.Stop()
	e.calling = false
	if e.killed || e.clock.ended { // the latter where a built-in function made an ordinary exception of it
		return errInterrupted
	}
	return nil
}

// interrupt ends the call under way, and every later one. It may be called at any time.
func (e *engine) interrupt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.clock.stop.Store(true)
	if e.calling {
		e.watch.Reset(e.grace())
	}
}

// overdue ends a call that has not noticed that its time is over: it takes the engine its memory, so that it
// faults, whatever it does.
func (e *engine) overdue() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.calling {
		return
	}
	if !e.clock.stop.Load() {
		if left := e.clock.left(e.grace()); left > 0 {
			e.watch.Reset(left + time.Millisecond) // the thread may not run at present
			return
		}
	}
	e.killed = forbid(e.region) == nil
}

func (e *engine) run(function string, args [][]byte) (string, error) {
	global := lib.XJS_GetGlobalObject(e.tls, e.realm)
	defer e.free(global)
	name, err := e.text(function)
	if err != nil {
		return "", err
	}
	fn := lib.XJS_GetPropertyStr(e.tls, e.realm, global, name)
	defer e.free(fn)

	var v lib.TJSValue
	size := int(unsafe.Sizeof(v))
	argv := e.tls.Alloc(size * len(args))
	defer e.tls.Free(size * len(args))
	for i, arg := range args {
		v, err := e.parse(arg)
		if err != nil {
			return "", err
		}
		defer e.free(v)
		*(*lib.TJSValue)(unsafe.Add(nil, argv+uintptr(i*size))) = v
	}
	answer := lib.XJS_Call(e.tls, e.realm, fn, global, int32(len(args)), argv)
	defer e.free(answer)
	if err := e.exception(); err != nil {
		return "", err
	}
	return e.string(answer)
}

// parse makes JSON a value, with the engine's own JSON.parse.
func (e *engine) parse(text []byte) (v lib.TJSValue, err error) {
	address, err := e.text(unsafe.String(unsafe.SliceData(text), len(text)))
	if err != nil {
		return v, err
	}
	v = lib.XJS_ParseJSON(e.tls, e.realm, address, libc.Tsize_t(len(text)), address+uintptr(len(text)))
	return v, e.exception()
}

// string is the text of a value. A lone surrogate is no UTF-8, and becomes U+FFFD.
func (e *engine) string(v lib.TJSValue) (string, error) {
	size := int(unsafe.Sizeof(libc.Tsize_t(0)))
	length := e.tls.Alloc(size)
	defer e.tls.Free(size)
	p := lib.XJS_ToCStringLen2(e.tls, e.realm, length, v, 0)
	if p == 0 {
		err := e.exception()
		if err == nil {
			err = errNoMemory
		}
		return "", err
	}
	defer lib.XJS_FreeCString(e.tls, e.realm, p)
	n := *(*libc.Tsize_t)(unsafe.Add(nil, length))
	return strings.ToValidUTF8(string(unsafe.Slice((*byte)(unsafe.Add(nil, p)), n)), "\uFFFD"), nil
}

// exception is what was thrown and not caught, if anything was. What the engine throws by
// itself has a text that no code of the design document makes.
func (e *engine) exception() error {
	if lib.XJS_HasException(e.tls, e.realm) == 0 {
		return nil
	}
	thrown := lib.XJS_GetException(e.tls, e.realm)
	defer e.free(thrown)
	if e.clock.ended {
		return errInterrupted
	}
	text, err := e.string(thrown)
	if err != nil {
		return errNoMemory
	}
	return errors.New(text)
}

// text puts text into memory that the engine sees, with a zero byte behind it; until the next call.
func (e *engine) text(s string) (uintptr, error) {
	if need := len(s) + 1; need > e.size {
		grown := libc.Xrealloc(e.tls, e.buffer, libc.Tsize_t(need))
		if grown == 0 {
			return 0, errNoMemory
		}
		e.buffer, e.size = grown, need
	}
	to := unsafe.Slice((*byte)(unsafe.Add(nil, e.buffer)), len(s)+1)
	to[copy(to, s)] = 0
	return e.buffer, nil
}

func (e *engine) free(v lib.TJSValue) { lib.XFreeValue(e.tls, e.realm, v) }

// close frees the engine's memory as a whole. No call may be under way.
func (e *engine) close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.watch.Stop()
	if err := freeRegion(e.region); err != nil {
		panic(err) // it was mapped, and once
	}
	libc.Xfree(e.tls, e.buffer)
	if e.clock != nil {
		libc.Xfree(e.tls, uintptr(unsafe.Pointer(e.clock)))
	}
	e.tls.Close()
}
