package crash

import (
	"net/http"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// Documents are written all the time. A job follows the source from a checkpoint on; another one, which
// has none, cannot begin where that did: it reads what it lacks in a pass of its own and then follows the
// feed of the first. Nothing that is written meanwhile is lost to it, and the source is followed once.
func TestLateJobReadsWhatItLacksAndJoinsWhileDocumentsAreWritten(t *testing.T) {
	t.Parallel()
	first := pair{startServer(t, millpond.Options{}), startServer(t, millpond.Options{}), "db"}
	late := pair{first.source, startServer(t, millpond.Options{}), "db"}
	for _, s := range []*server{first.source, first.target, late.target} {
		s.create(t, "db")
	}
	first.fill(t, 1000, seed)
	cluster := program.StartCluster(t, program.ClusterOptions{})
	cluster.Replicate(first.args()...).Completed()

	of := func(feed string) *chaosproxy.Active {
		return first.source.proxy.Add(chaosproxy.Rule{Match: func(r *http.Request) bool {
			return feedOf(r) && r.URL.Query().Get("feed") == feed
		}})
	}
	followed, read := of("continuous"), of("normal")
	edits := first.edit(t, seed)
	a := cluster.Replicate(first.args("--continuous")...)
	await(t, "changes that the first job has carried", first.target.nth(chaosproxy.BulkDocs, "db", 20))
	if n := followed.Hits(); n != 1 {
		t.Fatalf("the source is followed %d times by one job", n)
	}
	before := read.Hits()
	// The late job's pass stands until more has been written than was there when it began to be read.
	came, release := late.target.hold(chaosproxy.BulkDocs, "db", 2)
	defer release()
	b := cluster.Replicate(late.args("--continuous")...)
	await(t, "the late job's pass", came)
	await(t, "changes that the first job carries meanwhile", first.target.nth(chaosproxy.BulkDocs, "db", 20))
	release()
	b.CaughtUp(1000)
	await(t, "changes that the late job carries then", late.target.nth(chaosproxy.BulkDocs, "db", 20))
	done := edits.stop(t)
	first.same(t)
	late.same(t)
	if n := followed.Hits(); n != 1 {
		t.Errorf("the source was followed %d times", n)
	}
	if n := read.Hits() - before; n != 1 {
		t.Errorf("the late job read the source %d times", n)
	}
	if n := again(first.source.reads("db")); n > 1000+done.Total() {
		t.Errorf("%d revisions were read again: more than there were", n)
	}
	a.Interrupt()
	b.Interrupt()
	t.Logf("%d edits; %d revisions read again", done.Total(), again(first.source.reads("db")))
}
