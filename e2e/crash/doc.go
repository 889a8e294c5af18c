// Package crash kills, stops and starves the product's real processes in the middle
// of replications and then looks at both databases.
//
// # What is proven, by each test as often as it is run
//
//   - After SIGKILL of any service, of the broker, of the replicator or of all at
//     once, at a random moment, and a restart, source and target end with the same
//     leaves, histories and bodies (invariant 1); and what a checkpoint covered before
//     the kill was not read from the source again, except for what was being
//     acknowledged at that moment: at most the batches that the dead processes had in
//     hand.
//   - After the loss of the broker's disk, with the services killed or not, a
//     replication that is submitted again resumes from the checkpoints at the
//     databases and not from the beginning.
//   - A database that is deleted and made again in mid-replication, within the same
//     second too, is noticed and the replication starts over.
//   - Cut requests, cut answers, lost answers, refusals, nonsense and absence of a
//     database lose nothing.
//   - A service that is stopped (SIGSTOP) until another has taken over does no harm
//     when it wakes: the feed's log stays dense, and no checkpoint is written in the
//     name of the old owner.
//   - A broker that is away for a while is waited for.
//   - Of several targets those that are slow, away, failing or forbidding, and those whose
//     site's services are dead, hold up no other; and a job that joins a feed late, while
//     documents are written all the time, loses none of them.
//   - A run that is stopped in order, in its middle too, is gone on with from the
//     checkpoint that it wrote then, and reads no row again that this covers.
//
// # What is not proven
//
//   - A moment is random and not every one: 50 runs find what happens in one of
//     twenty, not what happens in one of a thousand. Seeds are printed; a seed
//     repeats the choice of victims and of the request at which they die, not the
//     scheduling of the processes.
//   - SIGKILL loses what a process had in memory, not what the kernel had of its
//     files: nothing is said about power cuts, where a broker without SyncAlways may
//     lose what it has acknowledged. The wiped disk is the worst case of that.
//   - The broker is one server. A cluster that loses a member or its quorum is
//     tested in pkg/broker.
//   - Databases are millponds in the test's process, which does not die. What a
//     database loses in its own crash is not looked at; checkpoints ask it to make
//     its writes durable first.
//   - Clocks do not jump.
//
// # How to run
//
//	go test -count=1 ./crash                               a few runs, for CI
//	go test ./crash -run Kill -runs 50 -timeout 2h         or MILLRACE_CRASH_RUNS=50
//	go test ./crash -run Kill -seed 17                     or MILLRACE_CRASH_SEED=17
package crash
