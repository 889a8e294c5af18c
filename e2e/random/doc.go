// Package random edits two databases at random while the product replicates each
// into the other through servers that fail and processes that die, and then looks
// at both.
//
// # What is proven, by each seed
//
// After whatever happened, once the faults are over: every leaf of either database
// is in the other, with the same history, body and attachments, except for what the
// second database refuses by its validation function; each of those is missing there
// and listed among the job's failures; and once the function is gone, replaying the
// failures brings them too.
//
// A purge is not replicated: the other database does not offer a document again
// that it has not changed since. So every document that was purged on one side is
// edited at the end wherever it still exists; then it is offered whole, and has to
// arrive.
//
// And of one database that is replicated to several, each with a filter of its own, while documents pass from
// one filter to another: every leaf that a target's filter chooses is there, and nothing that it never
// chose. What has left the filter may stay as it was.
//
// # What is not proven
//
// A seed repeats the operations and faults, not the moments at which processes see
// them: a failure may need a few runs of its seed. Shrinking is worth something all
// the same, since most mistakes do not need a moment.
//
// # How to run
//
//	go test -count=1 ./random                                  one short run, for CI
//	MILLRACE_TEST_LONG=20m go test ./random -timeout 1h        as many runs as fit
//	go test ./random -rapid.seed=17                            one seed again
//
// With MILLRACE_TEST_COUCHDB (two URLs with credentials, separated by a comma) two
// databases of real servers are edited too.
package random
