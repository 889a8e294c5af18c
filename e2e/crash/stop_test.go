package crash

import (
	"strings"
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// A run that is stopped in order writes how far it got. The next one, which knows of it from the
// databases alone, begins there: nothing but the checkpoint at the stop can tell it, because
// the next regular one would be written in an hour.
func TestRunThatWasStoppedIsGoneOnWithFromItsCheckpoint(t *testing.T) {
	t.Parallel()
	const added = 7
	for _, c := range []struct {
		name string
		// done is how many changes are done at least when the run is stopped.
		done int
	}{
		{"when all was done", documents},
		{"in its middle", documents / 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := pair{startServer(t, millpond.Options{}), startServer(t, millpond.Options{}), "stopped"}
			p.source.create(t, p.name)
			p.target.create(t, p.name)
			p.target.slow(t, chaosproxy.BulkDocs, 20*time.Millisecond)
			p.fill(t, documents, seed)
			args := []string{
				p.source.via(p.name), p.target.via(p.name),
				"--batch-size", "40", "--checkpoint-interval", "1h", "--uuid", "00112233445566778899aabbccddeeff",
			}
			r := program.Replicate(t, append(args, "--continuous")...)
			stopped := r.Until(func(e program.Event) bool { return e.Type == "progress" && e.ChangesDone >= c.done })
			if code := r.Interrupt(); code != program.ExitOK {
				t.Fatalf("the run that was stopped ended with %d", code)
			}

			seq := strings.Trim(string(p.checkpointed()), `"`)
			before := len(p.source.sinces(p.name))
			for _, l := range []string{"a", "b", "c", "d", "e", "f", "g"}[:added] {
				p.source.must(t, "PUT", "/"+p.name+"/added-"+l, []byte("{}"))
			}
			after := program.Replicate(t, args...).Completed()
			if asked := p.source.sinces(p.name)[before:]; len(asked) != 1 || asked[0] != seq {
				t.Errorf("the source was asked for what changed since %q; the checkpoint at the stop was %q", asked, seq)
			}
			if left := documents - stopped.ChangesDone + added; after.ChangesDone > left || after.ChangesDone < added {
				t.Errorf("%d rows were read again, of at most %d that were left", after.ChangesDone, left)
			}
			p.same(t)
		})
	}
}
