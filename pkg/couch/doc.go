// Package couch is a client of one database on a server that speaks CouchDB's
// protocol: Apache CouchDB 2 and 3, IBM Cloudant, PouchDB Server.
//
// It is made for replication. Documents are bytes and are neither decoded nor
// encoded on the way (invariant 7); what CouchDB itself put into them is read with
// package rawdoc. Answers that may be large are streams with bounded memory
// (invariant 5). No error, log value or string of this package shows a credential
// (invariant 9).
//
// Authentication is kivik's (its chttp package): a session cookie, renewed before
// it ends, with Basic where the server has no sessions. All URLs are built here,
// because kivik loses the escapes of paths.
//
// Every call retries what is worth retrying (see [Classify] and [Options]) until a
// response's head is accepted; calls that return a value also retry a response that is cut
// off. A stream ([Changes], [BulkGetResults], [OpenRevs], [Attachment]) that breaks
// later ends with a [CutError], and its caller goes on from what it has got.
package couch
