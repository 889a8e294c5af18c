package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Future is the outcome of a message that was sent.
type Future struct {
	done     chan struct{}
	sequence uint64
	err      error
}

func newFuture() *Future { return &Future{done: make(chan struct{})} }

// Done is closed when the outcome is known.
func (f *Future) Done() <-chan struct{} { return f.done }

// Wait returns the message's stream sequence, which for a repetition is that of
// the message that the broker had already. When ctx ends first the message
// stays on its way.
func (f *Future) Wait(ctx context.Context) (uint64, error) {
	select {
	case <-f.done:
		return f.sequence, f.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (f *Future) resolve(sequence uint64, err error) {
	f.sequence, f.err = sequence, err
	close(f.done)
}

// delivery is one message on its way: sent, refused, sent again, until the
// broker has it.
type delivery struct {
	p      *Publisher
	m      *nats.Msg
	turn   *turn // its place among the messages to its subject
	hasty  bool  // a full subject ends it
	future *Future
	weight int64       // bytes of the window that it holds
	full   *retryPause // between attempts while the subject is full
}

// maxFullPause is the longest pause between two attempts to send to a full subject. It is
// short, because publishers in other processes, whose older messages it does not
// know, may find the room first; only one message of a subject is tried by each.
const maxFullPause = 64 * time.Millisecond

func (p *Publisher) newDelivery(m *nats.Msg, t *turn) *delivery {
	return &delivery{
		p: p, m: m, turn: t, future: newFuture(),
		full: newBackoff(firstPause(m), maxFullPause),
	}
}

// begin makes the first attempt; the outcome is for finish.
func (d *delivery) begin(ctx context.Context) (jetstream.PubAckFuture, error) {
	if d.p.b.needsClaim(d.m) {
		m, err := d.p.b.checkIn(ctx, d.m)
		if err != nil {
			return nil, err
		}
		d.m = m
	}
	return d.send(ctx)
}

// finish sees the message through and resolves its future.
func (d *delivery) finish(ctx context.Context, ack jetstream.PubAckFuture, err error) {
	sequence, err := d.insist(ctx, ack, err)
	d.leaveWindow()
	d.turn.leave(err == nil)
	d.future.resolve(sequence, err)
}

func (d *delivery) insist(ctx context.Context, ack jetstream.PubAckFuture, err error) (uint64, error) {
	for retry := newBackoff(2*time.Millisecond, 250*time.Millisecond); ; {
		var sequence uint64
		if err == nil {
			sequence, err = outcome(ctx, ack)
		}
		if err == nil {
			return sequence, nil
		}
		if ctx.Err() != nil {
			return 0, abandoned(ctx, d.m.Subject, err)
		}
		v := judge(err)
		if v == verdictNever || v == verdictFenced || (v == verdictFull && d.hasty) {
			return 0, publishError(d.m.Subject, err)
		}
		if stop := d.standBack(ctx, v, retry); stop != nil {
			return 0, abandoned(ctx, d.m.Subject, err)
		}
		ack, err = d.send(ctx)
	}
}

// firstPause is how long the first wait for room is. What is big takes its receiver longer: a subject
// that is full of such messages will not have room within a few milliseconds.
func firstPause(m *nats.Msg) time.Duration {
	if wireSize(m) >= bigMessage {
		return 10 * time.Millisecond
	}
	return 2 * time.Millisecond
}

// standBack waits before the next attempt. It leaves the window meanwhile: one
// full subject must not keep the others waiting.
func (d *delivery) standBack(ctx context.Context, v verdict, retry *retryPause) error {
	d.leaveWindow()
	if v != verdictFull {
		return retry.wait(ctx)
	}
	for {
		if err := d.awaitRoom(ctx); err != nil {
			return err
		}
		// Asking costs a tenth of a millisecond, sending in vain five times that.
		if wireSize(d.m) < bigMessage || d.p.b.hasRoom(ctx, d.m.Subject) {
			return nil
		}
	}
}

// awaitRoom waits before a message is sent again to a subject that was full: until the older
// ones are through, and for the oldest of all a little longer each time.
func (d *delivery) awaitRoom(ctx context.Context) error {
	if d.turn.refuse() {
		return d.full.wait(ctx)
	}
	return d.turn.wait(ctx)
}

// send makes one attempt, within the window.
func (d *delivery) send(ctx context.Context) (jetstream.PubAckFuture, error) {
	weight := min(int64(wireSize(d.m)), d.p.options.WindowBytes)
	if err := d.p.window.Acquire(ctx, weight); err != nil {
		return nil, err
	}
	d.weight = weight
	return d.p.b.js.PublishMsgAsync(d.m, jetstream.WithRetryAttempts(0))
}

func (d *delivery) leaveWindow() {
	d.p.window.Release(d.weight)
	d.weight = 0
}

// outcome waits for the broker's answer to one attempt.
func outcome(ctx context.Context, ack jetstream.PubAckFuture) (uint64, error) {
	select {
	case a := <-ack.Ok():
		return a.Sequence, nil
	case err := <-ack.Err():
		return 0, err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// abandoned is the error of a message that was given up because its context
// ended, with what kept it until then.
func abandoned(ctx context.Context, subject string, last error) error {
	if ctx.Err() == nil || errors.Is(last, ctx.Err()) {
		return fmt.Errorf("publish to %s: %w", subject, orCause(ctx, last))
	}
	return fmt.Errorf("publish to %s: %w (last attempt: %w)", subject, context.Cause(ctx), last)
}

func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// hasRoom asks how many messages a bounded subject holds. Where it cannot tell
// it says yes: the broker has the last word.
func (b *Broker) hasRoom(ctx context.Context, subject string) bool {
	limit, stream := b.perSubject(subject), b.streamOf(subject)
	if limit == 0 || stream == "" {
		return true
	}
	s, err := b.stream(ctx, stream)
	if err != nil {
		return true
	}
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(subject))
	if err != nil {
		return true
	}
	return info.State.Subjects[subject] < uint64(limit)
}

// streamOf names the stream of one of this installation's bounded subjects.
func (b *Broker) streamOf(subject string) string {
	streams := b.topology.streams
	switch b.topology.subjects.kind(subject) {
	case "selected":
		return streams.Selected
	case "missing", "large":
		return streams.Missing
	case "write":
		return streams.Write
	case "replay":
		return streams.Replay
	}
	return ""
}
