package replicator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"millrace/pkg/checkpoint"
	"millrace/pkg/control"
	"millrace/pkg/directory"
	"millrace/pkg/watermark"
	millracev1 "millrace/proto/millrace/v1"
)

// begin starts a new run: it finds the databases and the checkpoint that both
// remember, and lets the feed be read from there. Sections 2.2 to 2.4 and 3.1 of the
// reference say how CouchDB does it.
func (r *run) begin(ctx context.Context) error {
	source, err := r.ask(ctx, control.Source, info())
	if err != nil {
		return err
	}
	r.docSize = source.DocSize
	if r.job.CreateTarget {
		if _, err := r.ask(ctx, control.Target, create(r.job.CreateTargetParams)); err != nil {
			return err
		}
	}
	target, err := r.ask(ctx, control.Target, info())
	if err != nil {
		return err
	}
	p := &millracev1.Progress{
		SourceInstance: source.InstanceStartTime, TargetInstance: target.InstanceStartTime,
		SessionId: newSession(), Started: time.Now().UnixNano(), Total: -1,
	}
	if err := r.findCheckpoint(ctx, p); err != nil {
		return err
	}
	if err := r.noteReplaced(ctx, p); err != nil {
		return err
	}
	r.progress = p
	r.restore(p)
	if r.last, err = r.m.jobs.Progress(ctx, r.job.Id); err != nil {
		return err
	}
	if err := r.firstCheckpoint(ctx); err != nil {
		return err
	}
	if p.Total, err = r.pendingChanges(ctx, p.StartSeq); err != nil {
		return err
	}
	return r.enter(ctx, source.UpdateSeq)
}

func newSession() string {
	id := make([]byte, 16)
	rand.Read(id) //nolint:errcheck // never fails
	return hex.EncodeToString(id)
}

// findCheckpoint compares the checkpoints of both sides and sets where to start. Those that an
// earlier replication has left count even if this one writes none, as in CouchDB.
func (r *run) findCheckpoint(ctx context.Context, p *millracev1.Progress) error {
	var source, target *checkpoint.Log
	var sides errgroup.Group // at once: one of them is far away
	sides.Go(func() (err error) {
		source, err = r.readLog(ctx, control.Source)
		return err
	})
	sides.Go(func() (err error) {
		target, err = r.readLog(ctx, control.Target)
		return err
	})
	err := sides.Wait()
	if err != nil {
		return err
	}
	if source != nil {
		p.SourceSession = source.SessionID
	} else if source, err = r.ownLog(ctx, p.SourceInstance); err != nil {
		return err
	}
	if source == nil && target != nil && target.StandsForSource(p.SourceInstance) {
		source = target // the broker has lost its copy
	}
	if target != nil {
		p.TargetSession = target.SessionID
	}
	seq, history := checkpoint.Compare(source, target)
	p.StartSeq = checkpoint.Start(seq, r.job.SinceSeq)
	last := &checkpoint.Log{History: history}
	if p.Log, err = last.MarshalJSON(); err != nil {
		return fmt.Errorf("keep checkpoint: %w", err)
	}
	return nil
}

func (r *run) readLog(ctx context.Context, side control.Side) (*checkpoint.Log, error) {
	reply, err := r.ask(ctx, side, getCheckpoint(r.base))
	if err != nil || len(reply.Log) == 0 {
		return nil, err
	}
	log, err := checkpoint.Parse(reply.Log)
	if err != nil {
		// Somebody else's document, or a damaged one: start over and replace it.
		r.log.WarnContext(ctx, "checkpoint cannot be read and is replaced", "side", side, "error", err)
		return nil, nil
	}
	return log, nil
}

// ownLog is the broker's own copy of the checkpoint, which stands for the source's
// when the source is read-only. It is about the database of that time: of another one
// under the same name, or of one that does not say which it is, it says nothing (invariant 1).
func (r *run) ownLog(ctx context.Context, instance string) (*checkpoint.Log, error) {
	before, err := r.m.jobs.Progress(ctx, r.job.Id)
	if err != nil || before == nil || !before.ReadOnlySource || len(before.Log) == 0 {
		return nil, err
	}
	if instance == "" || instance == "0" || before.SourceInstance != instance {
		return nil, nil
	}
	return checkpoint.Parse(before.Log)
}

// restore sets the run's state to what p says.
func (r *run) restore(p *millracev1.Progress) {
	last, err := checkpoint.Parse(p.Log)
	if err != nil {
		last = &checkpoint.Log{}
	}
	r.history = last.History
	if len(r.history) > 0 && r.history[0].SessionID == p.SessionId {
		r.history = r.history[1:] // the run's own entry is replaced at each checkpoint
	}
	r.session = checkpoint.Session{
		ID: p.SessionId, Started: time.Unix(0, p.Started), StartSeq: p.StartSeq,
		DocIDs: r.job.GetFilter().GetByDocIds(),
	}
	r.before = checkpoint.Totals(r.history, statsOf(r.job.Totals))
	r.mark = watermark.New(watermark.Position{Ordinal: p.Ordinal, Seq: p.Seq, Stats: statsOf(p.Counters), End: p.End})
	r.window = newWindow(p.Ordinal, p.Rows)
}

// firstCheckpoint writes where the run begins to a side that has no checkpoint yet:
// from then on the document's absence shows that the database was replaced, which
// instance_start_time alone does not when it happens within a second.
func (r *run) firstCheckpoint(ctx context.Context) error {
	p := r.progress
	if !r.job.Tuning.UseCheckpoints || (p.SourceSession != "" && p.TargetSession != "") {
		return nil
	}
	next := r.session.Next(r.history, p.StartSeq, r.before, time.Now())
	payload, err := next.MarshalJSON()
	if err != nil {
		return fmt.Errorf("encode checkpoint: %w", err)
	}
	return r.writeBoth(ctx, payload)
}

func (r *run) pendingChanges(ctx context.Context, since []byte) (int64, error) {
	reply, err := r.ask(ctx, control.Source, &millracev1.DatabaseRequest{
		Request: &millracev1.DatabaseRequest_Pending{Pending: &millracev1.DatabaseRequest_PendingChanges{Since: since}},
	})
	if err != nil {
		return -1, err
	}
	return reply.Pending, nil
}

// resume goes on with the run that the job's last owner left, and reports whether
// there is one, between the databases that it began with. The pipeline has worked on
// meanwhile: the logs say what is done.
func (r *run) resume(ctx context.Context) (bool, error) {
	if !r.job.Active {
		return false, nil
	}
	p, err := r.m.jobs.Progress(ctx, r.job.Id)
	if err != nil {
		return false, err
	}
	if p == nil || p.Run != r.job.Run || p.Feed != r.job.Feed {
		return false, nil
	}
	// The key's new revision fences the owner of before: should it wake in the middle of
	// ending this run, it is refused, and does not end it under its new owner.
	if err := r.save(ctx); err != nil {
		return false, err
	}
	r.progress = p
	r.restore(p)
	var c *crash
	if err := r.same(ctx); errors.As(err, &c) {
		r.log.WarnContext(ctx, "run is not gone on with", "reason", c.reason)
		if c.replaced != "" {
			r.note(ctx, startedOver(c.replaced))
		}
		return false, nil
	}
	if r.mark.EndReached() {
		return true, nil // the owner died while it concluded the run
	}
	return r.rejoin(ctx)
}

// rejoin goes on in the feed of a run that is gone on with, and reports whether that is there.
func (r *run) rejoin(ctx context.Context) (bool, error) {
	feed, _, err := r.m.feeds.Newest(ctx, r.job.Feed)
	if errors.Is(err, directory.ErrUnknown) {
		return false, nil // the owner died before it made it
	}
	if err != nil {
		return false, err
	}
	r.pushed = directory.PushedDown(feed)
	if err := r.listenTo(ctx, feed.Id); err != nil {
		return false, err
	}
	joined, err := r.m.feeds.Enrol(ctx, feed.Id, r.rosterEntry())
	if errors.Is(err, directory.ErrUnknown) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if r.progress.Joined == 0 {
		r.progress.Joined = joined
	}
	return true, r.recall(ctx)
}

func info() *millracev1.DatabaseRequest {
	return &millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_Info{Info: &millracev1.DatabaseRequest_DatabaseInfo{}}}
}

func create(params []byte) *millracev1.DatabaseRequest {
	return &millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_Create{
		Create: &millracev1.DatabaseRequest_CreateDatabase{Params: params},
	}}
}

func getCheckpoint(id string) *millracev1.DatabaseRequest {
	return &millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_GetCheckpoint_{
		GetCheckpoint: &millracev1.DatabaseRequest_GetCheckpoint{Id: id},
	}}
}
