// Package broker is everything that Millrace does with NATS JetStream.
//
// A [Broker] is one connection and the streams, subjects and buckets of one
// installation (topology.go declares them all). Through it the services
//
//   - publish work and wait where a queue is full ([Publisher]),
//   - consume the work of a stage, dealt fairly between jobs ([Subscriber]),
//   - own a feed or a job by a lease ([Lease]) and append to the feed's log under
//     a fence that outlives the lease ([Appender]),
//   - read logs in order, noticing what was trimmed ([LogReader]),
//   - read document bodies by reference ([Broker.GetBody]).
//
// Messages over the connection's limit travel by claim check (claim.go); neither
// the sender nor the receiver notices.
//
// [Embedded] is the broker itself inside the process, for an installation that
// needs nothing else.
package broker
