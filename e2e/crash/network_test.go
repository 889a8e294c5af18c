package crash

import (
	"net/http"
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// feedOf picks the readings of a feed, and not the questions how much is pending.
func feedOf(r *http.Request) bool {
	return chaosproxy.Classify(r) == chaosproxy.Changes && r.URL.Query().Get("limit") != "0"
}

func TestTroubleOnTheWayLosesNothing(t *testing.T) {
	t.Parallel()
	const source, target = "source", "target"
	on := chaosproxy.On
	put := func(kind chaosproxy.Endpoint) func(*http.Request) bool {
		return chaosproxy.Method(http.MethodPut, on(kind))
	}
	for _, c := range []struct {
		name string
		at   string
		rule chaosproxy.Rule
	}{
		{"the feed is cut in its middle", source, chaosproxy.Rule{Match: feedOf, Times: 3, Do: chaosproxy.CutAnswer(20_000)}},
		{"the feed is cut before its first row", source, chaosproxy.Rule{Match: feedOf, Times: 2, Do: chaosproxy.CutAnswer(5)}},
		{"the feed is nonsense", source, chaosproxy.Rule{Match: feedOf, Times: 2, Do: chaosproxy.Garbage()}},
		{"the feed's answer is lost", source, chaosproxy.Rule{Match: feedOf, Times: 2, Do: chaosproxy.DropAnswer()}},
		{"documents are cut in their middle", source, chaosproxy.Rule{Match: on(chaosproxy.BulkGet), Skip: 2, Times: 4, Do: chaosproxy.CutAnswer(9_000)}},
		{"the request for documents is cut", source, chaosproxy.Rule{Match: on(chaosproxy.BulkGet), Skip: 1, Times: 3, Do: chaosproxy.CutRequest(100)}},
		{"documents are nonsense", source, chaosproxy.Rule{Match: on(chaosproxy.BulkGet), Skip: 1, Times: 2, Do: chaosproxy.Garbage()}},
		{"the source fails for a while", source, chaosproxy.Rule{Skip: 6, Times: 8, Do: chaosproxy.ServerError(http.StatusInternalServerError)}},
		{"the source asks to wait", source, chaosproxy.Rule{Skip: 4, Times: 4, Do: chaosproxy.TooManyRequests(1)}},
		{"the question what is missing is cut", target, chaosproxy.Rule{Match: on(chaosproxy.RevsDiff), Times: 3, Do: chaosproxy.CutAnswer(10)}},
		{"documents are cut on their way in", target, chaosproxy.Rule{Match: on(chaosproxy.BulkDocs), Skip: 1, Times: 3, Do: chaosproxy.CutRequest(5_000)}},
		{"the answer to a write is lost", target, chaosproxy.Rule{Match: on(chaosproxy.BulkDocs), Times: 4, Do: chaosproxy.DropAnswer()}},
		{"the answer to a write is cut", target, chaosproxy.Rule{Match: on(chaosproxy.BulkDocs), Times: 3, Do: chaosproxy.CutAnswer(1)}},
		{"the answer to a write is nonsense", target, chaosproxy.Rule{Match: on(chaosproxy.BulkDocs), Times: 3, Do: chaosproxy.Garbage()}},
		{"the answer to a checkpoint is lost", target, chaosproxy.Rule{Match: put(chaosproxy.Local), Times: 3, Do: chaosproxy.DropAnswer()}},
		{"the source's answer to a checkpoint is lost", source, chaosproxy.Rule{Match: put(chaosproxy.Local), Times: 3, Do: chaosproxy.DropAnswer()}},
		{"the target fails for a while", target, chaosproxy.Rule{Skip: 8, Times: 8, Do: chaosproxy.ServerError(http.StatusServiceUnavailable)}},
		{"the target asks to wait", target, chaosproxy.Rule{Match: on(chaosproxy.BulkDocs), Skip: 1, Times: 4, Do: chaosproxy.TooManyRequests(1)}},
		{"one in four requests to the target is lost", target, chaosproxy.Rule{Chance: 0.25, Do: chaosproxy.DropAnswer()}},
		{"one in four requests to the source is cut", source, chaosproxy.Rule{Chance: 0.25, Do: chaosproxy.CutAnswer(1_000)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := pair{startServer(t, millpond.Options{}), startServer(t, millpond.Options{}), "db"}
			p.source.create(t, p.name)
			p.target.create(t, p.name)
			p.fill(t, 600, seed)
			side := p.source
			if c.at == target {
				side = p.target
			}
			rule := side.proxy.Add(c.rule)
			summary := program.Replicate(t, p.args("--retries", "0")...).Completed()
			rule.Remove()
			p.same(t)
			t.Logf("%d times; counted %+v; %d revisions read again, %d written again", rule.Hits(), summary.Totals,
				again(p.source.reads(p.name)), again(p.target.writes(p.name)))
			if rule.Hits() == 0 {
				t.Error("nothing happened: the test says nothing")
			}
		})
	}
}

func TestDatabaseThatIsAwayForAWhileIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"source", "target"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			p := pair{startServer(t, millpond.Options{}), startServer(t, millpond.Options{}), "db"}
			p.source.create(t, p.name)
			p.target.create(t, p.name)
			p.fill(t, 1000, seed)
			p.target.slow(t, chaosproxy.BulkDocs, 50*time.Millisecond)
			away := p.source
			if side == "target" {
				away = p.target
			}
			half := p.target.nth(chaosproxy.BulkDocs, p.name, 12)
			r := program.Replicate(t, p.args("--continuous", "--retries", "0", "--retries-per-request", "1")...)
			await(t, "half of the writes", half)
			before := p.measure(t)
			away.proxy.Down()
			r.Until(func(e program.Event) bool { return e.Type == "state" && e.State == "crashing" })
			away.proxy.Up()
			edits := p.edit(t, seed)
			r.CaughtUp(1)
			edits.stop(t)
			p.same(t)
			before.judge(t, 0)
			r.Interrupt()
		})
	}
}
