// Package mango decides whether a document matches a Mango selector, as CouchDB
// 3.5.0 does it in _changes?filter=_selector: the same operators, the same order of
// types and of strings, the same surprises, and the same words for selectors that
// it refuses.
//
// A selector is parsed once with [Parse]; a document is decoded once with [Decode],
// for any number of selectors. Neither depends on the other.
//
// Where it cannot be the same is written down in docs/adr/020-selectors.md.
package mango
