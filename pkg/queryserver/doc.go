// Package queryserver runs the functions of design documents that replication needs, as
// CouchDB's query server does: validation functions, filter functions and views as filters; with
// the same arguments, the same globals, the same answers. The engine is QuickJS, which CouchDB
// runs too, in Go (ADR 018, ADR 022).
//
// The code of a design document is not trusted: a function has a time, an amount
// of memory and a depth of calls, and nothing outside of its engine.
package queryserver
