package failures

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

const (
	// replayBatch is how many revisions are replayed at once.
	replayBatch = 100
	// silence is how long nothing may be heard of a replay before that is told.
	silence = 10 * time.Second
)

// ReplayOptions say what is replayed, and who hears of it.
type ReplayOptions struct {
	// Select says whether a record is replayed; nil means all.
	Select func(*Record) bool
	// Tell hears what came of each revision. It may be nil.
	Tell func(*millracev1.ReplayedDoc)
	// Silent is called when nothing was heard for ten seconds: no service may be there. It
	// may be nil.
	Silent func()
}

// Replay sends rejected documents of a job through the pipeline once more (ADR 014): the services of
// the source's side read them anew, with their attachments, those of the target's side write
// them, and settle the records. It returns how many came to which end, when all of them have.
//
// Whatever ends before that, this process or a service, no more is lost than the telling: what was
// sent is worked on, and what was not sent is as it was. The same records may be replayed by
// several at once.
func (s *Store) Replay(ctx context.Context, job *millracev1.Job, o ReplayOptions) (map[millracev1.ReplayedDoc_Outcome]int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &replay{
		store: s, job: job, id: nuid.Next(), o: o,
		results: make(chan *millracev1.Replayed), sent: make(chan uint64, 1),
		outcomes: map[millracev1.ReplayedDoc_Outcome]int{},
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.send(ctx) })
	group.Go(func() error { return r.listen(ctx) })
	group.Go(func() error { return r.watch(ctx) })
	group.Go(func() error {
		defer cancel() // the others wait for more
		return r.collect(ctx)
	})
	err := group.Wait()
	if r.complete {
		return r.outcomes, nil
	}
	return r.outcomes, fmt.Errorf("replay: %w", err)
}

// replay is one replay.
type replay struct {
	store    *Store
	job      *millracev1.Job
	id       string
	o        ReplayOptions
	results  chan *millracev1.Replayed
	sent     chan uint64 // how many batches there are, when all are sent
	outcomes map[millracev1.ReplayedDoc_Outcome]int
	complete bool
}

// send sends the records that are there in batches. It waits while the pipeline has no room.
func (r *replay) send(ctx context.Context) error {
	var batches uint64
	var batch *millracev1.MissingBatch
	size := 0
	flush := func() error {
		if size == 0 {
			return nil
		}
		batches++
		batch.Position = &millracev1.Position{Job: r.job.Id, Replay: r.id, Ordinal: batches}
		err := r.publish(ctx, batch)
		batch, size = nil, 0
		return err
	}
	docs := map[string]*millracev1.MissingDoc{}
	err := r.store.Each(ctx, r.job.Id, func(rec *Record) error {
		if r.o.Select != nil && !r.o.Select(rec) {
			return nil
		}
		if batch == nil {
			batch = &millracev1.MissingBatch{FullAttachments: true}
			clear(docs)
		}
		d := docs[rec.Id]
		if d == nil {
			d = &millracev1.MissingDoc{Id: rec.Id}
			docs[rec.Id], batch.Docs = d, append(batch.Docs, d)
		}
		d.Revs = append(d.Revs, rec.Rev)
		if size++; size == replayBatch {
			return flush()
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if err == nil {
		r.sent <- batches
	}
	return err
}

func (r *replay) publish(ctx context.Context, b *millracev1.MissingBatch) error {
	id := stage.BatchID(b.Position)
	msg, err := stage.NewMessage(ctx, id, b)
	if err != nil {
		return err
	}
	subject := r.store.broker.Subjects().ReplayedMissing(r.job.SourceSite, r.job.Id)
	_, err = r.store.publisher.PublishSeq(ctx, subject, msg.Payload, append(stage.Headers(msg), broker.MsgID(id))...)
	return err
}

// listen hears what comes of the batches.
func (r *replay) listen(ctx context.Context) error {
	b := r.store.broker
	log, err := b.Follow(ctx, b.Streams().Events, b.Subjects().Replayed(r.job.Id, r.id), 0, broker.LogOptions{})
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // never fails
	for {
		e, err := log.Next(ctx)
		if err != nil {
			return err
		}
		m := &millracev1.Replayed{}
		if err := proto.Unmarshal(e.Data, m); err != nil {
			return fmt.Errorf("decode what came of a replay: %w", err)
		}
		select {
		case r.results <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch ends the replay when the broker has lost its disk: nothing will come any more.
func (r *replay) watch(ctx context.Context) error {
	birth, err := r.store.broker.Birth(ctx)
	if err != nil {
		return err
	}
	return r.store.broker.AwaitLoss(ctx, birth)
}

// collect counts what is heard until it was heard of all batches.
func (r *replay) collect(ctx context.Context) error {
	total, known := uint64(0), false
	heard := map[uint64]bool{}
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	for !known || uint64(len(heard)) < total {
		select {
		case total = <-r.sent:
			known = true
		case m := <-r.results:
			quiet.Reset(silence)
			if heard[m.Position.GetOrdinal()] { // a batch that was worked on twice
				continue
			}
			heard[m.Position.GetOrdinal()] = true
			r.tell(m)
		case <-quiet.C:
			if r.o.Silent != nil {
				r.o.Silent()
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.complete = true
	return nil
}

func (r *replay) tell(m *millracev1.Replayed) {
	for _, d := range m.Docs {
		r.outcomes[d.Outcome]++
		if r.o.Tell != nil {
			r.o.Tell(d)
		}
	}
}
