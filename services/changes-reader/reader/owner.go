package reader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/couch"
	"millrace/pkg/directory"
	"millrace/pkg/pause"
	"millrace/pkg/replication"
	"millrace/pkg/stage"
	"millrace/pkg/telemetry"
	millracev1 "millrace/proto/millrace/v1"
)

const (
	// defaultBatchRows is CouchDB's worker_batch_size.
	defaultBatchRows = 500
	// defaultWindow is how many batches a reader is ahead of the selector at most.
	defaultWindow = 32
	// readAgain is the wait before a feed is read again that could not be read.
	readAgain, readAgainMax = 250 * time.Millisecond, 30 * time.Second
)

// ownership is the reading of one feed by this process, under its lease.
type ownership struct {
	svc   *Service
	feed  *millracev1.Feed
	log   *broker.Appender
	last  *broker.Future // of the newest append
	tail  *tail
	batch *batcher
	rest  *rest // nil where the feed stays open
}

// own reads the feed until ctx ends, the lease is lost, or a finite feed has been
// read to its end.
func (svc *Service) own(ctx context.Context, f *millracev1.Feed, epoch uint64) error {
	subjects := svc.stage.Broker().Subjects()
	log, err := svc.stage.Broker().NewAppender(ctx, subjects.Changes(f.Id), subjects.Owner(f.Id), epoch, broker.AppenderOptions{
		Confirm: func(ctx context.Context) error { return svc.stage.Broker().CheckLease(ctx, leaseName(f.Id), epoch) },
	})
	if err != nil {
		return err
	}
	defer svc.close(ctx, log)
	o := &ownership{svc: svc, feed: f, log: log, batch: &batcher{
		feed: f.Id, epoch: epoch, roster: func() uint64 { return svc.feeds.Revision(f.Id) },
		reached: couch.NullSeq(),
	}}
	if f.BatchRows == 0 {
		f.BatchRows = defaultBatchRows
	}
	o.tail = &tail{broker: svc.stage.Broker(), subject: subjects.Routed(f.Id), covered: o.covered, window: uint64(f.Window)}
	if f.Window == 0 {
		o.tail.window = defaultWindow
	}
	ended, err := o.resume(ctx)
	switch {
	case errors.Is(err, stage.ErrFeedLost):
		return o.giveUp(ctx, err)
	case err != nil || ended:
		return err
	}
	if f.Live && svc.watch != nil {
		o.rest = &rest{seat: svc.watch.Seat(), least: svc.quietAfter, after: svc.quietAfter}
		defer o.rest.seat.Close()
	}
	if o.batch.ordinal == 0 {
		if err := o.gather(ctx); err != nil {
			return err
		}
	}
	return o.read(ctx)
}

const (
	// gatherStep is how often it is looked who has joined, gatherLook how often those are looked after who
	// have not, and gatherMax how long a feed waits at most for the next one: a target that does not answer
	// delays the others by that, and a thousand that begin may take minutes.
	gatherStep = 5 * time.Millisecond
	gatherLook = time.Second
	gatherMax  = 20 * time.Second
)

// gather waits for the jobs that are about to join a new feed: what is read before they have joined has to
// be routed again for each of them. One that fails before it has, is not waited for.
func (o *ownership) gather(ctx context.Context) error {
	missing := map[string]bool{}
	for _, job := range o.feed.Expected {
		missing[job] = true
	}
	for joined, looked := time.Now(), time.Now(); ; {
		before := len(missing)
		for _, entry := range o.roster() {
			delete(missing, entry.Job)
		}
		now := time.Now()
		if len(missing) < before {
			joined = now
		}
		if len(missing) == 0 || now.Sub(joined) >= gatherMax {
			return nil
		}
		if now.Sub(looked) >= gatherLook {
			looked = now
			if err := o.lookAfter(ctx, missing); err != nil {
				return err
			}
		}
		if err := pause.For(ctx, gatherStep); err != nil {
			return err
		}
	}
}

// lookAfter forgets jobs that are not about to begin any more.
func (o *ownership) lookAfter(ctx context.Context, missing map[string]bool) error {
	for id := range missing {
		// What is known may be a little old, and then a little later.
		job, err := o.svc.jobs.Known(id), error(nil)
		if job == nil {
			if job, err = o.svc.jobs.Newest(ctx, id); err != nil && !errors.Is(err, directory.ErrUnknown) {
				return err
			}
		}
		if job == nil || job.Active && job.Feed != o.feed.Id || !job.Active && job.State != string(replication.Initializing) {
			delete(missing, id)
		}
	}
	return nil
}

// resume finds out where the feed's last owner got to. It is the log that says
// so: since the marker was set, the old owner's batches are refused.
func (o *ownership) resume(ctx context.Context) (ended bool, err error) {
	since, err := couch.ParseSeq(o.feed.Since)
	if err != nil {
		return false, fmt.Errorf("feed %s: since: %w", o.feed.Id, err)
	}
	o.batch.known = since
	last, err := o.log.LastAppended(ctx)
	if errors.Is(err, broker.ErrGone) {
		return false, o.checkNew(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("find the end of the feed's log: %w", err)
	}
	b := &millracev1.ChangesBatch{}
	if err := proto.Unmarshal(last.Data, b); err != nil {
		return false, fmt.Errorf("read the end of the feed's log: %w", err)
	}
	if o.batch.known, err = couch.ParseSeq(b.KnownSeq); err != nil {
		return false, fmt.Errorf("read the end of the feed's log: %w", err)
	}
	o.batch.ordinal = b.Ordinal
	return b.End, nil
}

// checkNew makes sure that a feed without batches has never had any: an ordinal has one
// batch (ADR 001), and a run that has passed ordinal 1 would take a second one for done.
func (o *ownership) checkNew(ctx context.Context) error {
	if err := o.tail.look(ctx); err != nil {
		return err
	}
	if o.tail.routed > 0 {
		return fmt.Errorf("%w: its log was trimmed, although batch %d was routed", stage.ErrFeedLost, o.tail.routed)
	}
	return nil
}

// giveUp tells the feed's jobs, until the feed is no more, that they have to begin anew
// from their checkpoints. It is said again because an owner of a job that was away
// does not hear what was said before.
func (o *ownership) giveUp(ctx context.Context, err error) error {
	for delay := readAgain; ; delay = min(2*delay, readAgainMax) {
		o.report(ctx, err)
		if err := pause.For(ctx, delay); err != nil {
			return err
		}
	}
}

// covered is the newest ordinal that a job of the feed has in a checkpoint.
func (o *ownership) covered(ctx context.Context) (uint64, error) {
	newest := uint64(0)
	for _, entry := range o.roster() {
		p, err := o.svc.jobs.Progress(ctx, entry.Job)
		if err != nil {
			return 0, err
		}
		if p != nil && p.Feed == o.feed.Id {
			newest = max(newest, p.Ordinal)
		}
	}
	return newest, nil
}

// logError is a batch that did not get into the log. Its ordinal is used up and its rows
// are forgotten, so that only the log's end says how to go on.
type logError struct{ err error }

func (e *logError) Error() string { return e.err.Error() }
func (e *logError) Unwrap() error { return e.err }

// read reads the source and goes on after every failure: at once after a cut
// line, with growing waits while the source is away. What the jobs of the feed have
// to know is reported.
func (o *ownership) read(ctx context.Context) error {
	delay := readAgain
	for {
		before := o.batch.ordinal
		err := o.pass(ctx)
		var unlogged *logError
		switch {
		case err == nil && !o.feed.Live:
			return o.flush(ctx)
		case errors.As(err, &unlogged) || ctx.Err() != nil:
			return err
		}
		if o.batch.ordinal > before {
			delay = readAgain
		}
		if err == nil || (isCut(err) && o.batch.ordinal > before) {
			continue
		}
		o.report(ctx, err)
		if err := pause.For(ctx, delay); err != nil {
			return err
		}
		delay = min(2*delay, readAgainMax)
	}
}

// pass reads the source once: a live feed catches up first, which costs the
// source half of what following costs, and then follows. Once there has been nothing to follow for
// long it sleeps, and what there is then to catch up with the next pass reads.
func (o *ownership) pass(ctx context.Context) error {
	db, err := o.svc.pool.DB(ctx, o.feed.Source)
	if err != nil {
		return err
	}
	p := &pass{db: db, feed: o.feed, batcher: o.batch, sink: o, rest: o.rest}
	if o.rest != nil {
		p.db = o.rest.begin(db)
	}
	if err := p.finite(ctx, !o.feed.Live); err != nil || !o.feed.Live {
		return err
	}
	p.db = db
	if err := p.live(ctx); !errors.Is(err, errQuiet) {
		return err
	}
	return o.sleep(ctx, db, p)
}

// publish is the pass's sink. Its errors end the ownership.
func (o *ownership) publish(ctx context.Context, b *millracev1.ChangesBatch) error {
	if err := o.tail.room(ctx, b.Ordinal); err != nil {
		return &logError{err}
	}
	if err := o.append(ctx, b); err != nil {
		return &logError{err}
	}
	return nil
}

// opened tells every job of the feed: whoever has the job looks whether the database
// behind the feed is still the same.
func (o *ownership) opened(ctx context.Context) error {
	for _, entry := range o.roster() {
		err := o.svc.stage.Report(ctx, &millracev1.Event{
			Position: &millracev1.Position{Job: entry.Job, Run: entry.Run, Feed: o.feed.Id, Epoch: o.batch.epoch},
			Stage:    Name, Class: millracev1.Event_CLASS_INFO, Error: stage.FeedOpened,
			Reason: "the source's feed is open", Time: time.Now().UnixNano(),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// append adds a batch to the feed's log. A batch is one trace, which begins here.
func (o *ownership) append(ctx context.Context, b *millracev1.ChangesBatch) error {
	ctx, span := o.svc.stage.Tracer().Start(ctx, Name, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindProducer))
	defer span.End()
	ctx = telemetry.WithScope(ctx, telemetry.Scope{Feed: b.Feed, Epoch: b.Epoch, Ordinal: b.Ordinal})
	span.SetAttributes(telemetry.Rows(len(b.Rows)))
	msg, err := stage.NewMessage(ctx, fmt.Sprintf("%s.%d.%d", b.Feed, b.Epoch, b.Ordinal), b)
	if err != nil {
		return err
	}
	o.last, err = o.log.Append(ctx, b.Ordinal, msg.Payload, stage.Headers(msg)...)
	telemetry.RecordError(span, err)
	return err
}

// flush waits until the broker has all batches.
func (o *ownership) flush(ctx context.Context) error {
	if o.last == nil {
		return nil
	}
	_, err := o.last.Wait(ctx)
	return err
}

// close sends what is queued, unless another reader has taken over.
func (svc *Service) close(ctx context.Context, log *broker.Appender) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := log.Close(ctx); err != nil {
		svc.stage.Log().DebugContext(ctx, "batches were not appended; they are read again", "error", err)
	}
}

// report tells every job of the feed that it cannot be read.
func (o *ownership) report(ctx context.Context, err error) {
	o.svc.stage.Log().WarnContext(ctx, "feed cannot be read", "feed", o.feed.Id, "error", err)
	for _, entry := range o.roster() {
		pos := &millracev1.Position{Job: entry.Job, Run: entry.Run, Feed: o.feed.Id, Epoch: o.batch.epoch}
		// The error is reported and the reading goes on: the replicator decides.
		_ = o.svc.stage.Fail(ctx, pos, fmt.Errorf("read changes: %w", err))
	}
}

// roster is the jobs of the feed, as far as they are known now.
func (o *ownership) roster() []*millracev1.RosterEntry {
	if current, _, ok := o.svc.feeds.Get(o.feed.Id); ok {
		return current.Roster
	}
	return o.feed.Roster
}
