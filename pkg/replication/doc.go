// Package replication is the vocabulary of a replication job: its
// specification as CouchDB's replication documents write it ([ParseSpec]), the
// replication id that CouchDB derives from it ([Job.ID]), the states a job can
// be in ([State]), the counters it keeps ([Stats]) and the pauses between its
// attempts ([Backoff]).
//
// Nothing in this package does I/O. What CouchDB fetches over the network while
// it parses (the code of a filter function) is a parameter here.
//
// States, fields, counters and error texts are CouchDB's wherever CouchDB has a
// word for them (DESIGN section 2, invariant 10).
package replication
