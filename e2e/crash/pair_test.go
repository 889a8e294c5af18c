package crash

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"millrace/e2e/compare"
	"millrace/e2e/dataset"
	"millrace/e2e/peer"
)

// pair is a source and a target database of the same name.
type pair struct {
	source, target *server
	name           string
}

// fill writes n documents of about 500 bytes into the source.
func (p pair) fill(t *testing.T, n int, seed uint64) {
	t.Helper()
	if err := dataset.Bulk(n, 500)(t.Context(), p.source.direct(p.name), peer.Capabilities{}, seed); err != nil {
		t.Fatal(err)
	}
}

// args are what millrace replicate is told about the pair: small batches and
// checkpoints often, so that a short replication has a long history.
func (p pair) args(more ...string) []string {
	args := []string{p.source.via(p.name), p.target.via(p.name), "--batch-size", "40", "--checkpoint-interval", "250ms"}
	return append(args, more...)
}

// same waits until target and source have the same leaves, and then compares all
// that they hold.
func (p pair) same(t *testing.T) {
	t.Helper()
	ctx := within(t)
	source, target := p.source.direct(p.name), p.target.direct(p.name)
	var last compare.Report
	eventually(t, "the target has what the source has", func() bool {
		report, err := compare.Databases(ctx, source, target, compare.Options{LeavesOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		if last = report; len(last.Differences) > 0 && ctx.Err() != nil {
			t.Fatal(last)
		}
		return last.Same()
	})
	compare.Require(t, source, target, compare.Options{})
}

// checkpointed is the seq, as raw JSON, that the target's newest checkpoint covers.
// Whatever happens next happens behind it.
func (p pair) checkpointed() json.RawMessage {
	written := p.target.checkpointsOf(p.name)
	if len(written) == 0 {
		return json.RawMessage("0")
	}
	return written[len(written)-1].Seq
}

// edits changes the source until it is told to stop, and reports how it went.
type edits struct {
	cancel context.CancelFunc
	done   chan error
	editor *dataset.Editor
}

// edit begins to change the source.
func (p pair) edit(t *testing.T, seed uint64) *edits {
	t.Helper()
	editor, err := dataset.NewEditor(p.source.direct(p.name), "edited-", seed)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	e := &edits{cancel: cancel, done: make(chan error, 1), editor: editor}
	go func() { e.done <- e.run(ctx) }()
	t.Cleanup(func() { cancel(); editor.Close() })
	return e
}

// pace is the time between two edits.
const pace = 5 * time.Millisecond

func (e *edits) run(ctx context.Context) error {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		// An edit that has begun is finished: the editor keeps count.
		if err := e.editor.Edit(context.WithoutCancel(ctx), 1); err != nil {
			return err
		}
	}
}

// stop ends the edits.
func (e *edits) stop(t *testing.T) dataset.Edits {
	t.Helper()
	e.cancel()
	if err := <-e.done; err != nil {
		t.Fatal(err)
	}
	return e.editor.Done()
}
