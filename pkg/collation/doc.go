// Package collation orders strings as ICU's root collator does at its default
// (tertiary) strength, which is how CouchDB orders strings in views and selectors.
//
// The weights are those of ICU 72 (Unicode 15, CLDR 42), read out of the library with
// gen/icu/dump.c and packed by gen into root.bin, 68 kB. They are unpacked when they
// are first needed, which takes about 20 ms and 1 MB; strings of ASCII never need them.
//
// The data is derived from the Unicode Character Database and CLDR, Copyright
// Unicode, Inc., used under the Unicode License v3 (https://www.unicode.org/license.txt).
package collation

//go:generate sh -c "cc -O2 -o /tmp/icu-dump gen/icu/dump.c -licui18n -licuuc && /tmp/icu-dump | go run ./gen -o root.bin"
