// Package failures keeps the rejected documents of jobs: which revision was refused or has
// vanished, by whom, why, how often it was tried, and the document itself where it is small.
//
// There is one record of each revision of a job, and only while the target lacks it: the records are a
// state, not a history (ADR 013). They stand in the stream FAILURES, the documents in REFUSED.
// Both have limits ([broker.Limits]); beyond them the oldest go.
package failures
