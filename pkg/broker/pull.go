package broker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// puller makes a consumer's pull requests, one at a time. The client library's
// Fetch would do, but for its end: what is on its way when a fetch is cancelled
// is lost for as long as AckWait, with every restart of a busy stage. Here the
// end waits until everything on its way has arrived.
type puller struct {
	b        *Broker
	subject  string // where the consumer takes requests
	answers  *nats.Subscription
	messages chan *nats.Msg
}

// newPuller pulls at most capacity messages at once from a consumer.
func (b *Broker) newPuller(stream, consumer string, capacity int) (*puller, error) {
	// Room for the notices between the messages as well: what finds no room is
	// dropped by the client.
	messages := make(chan *nats.Msg, 2*capacity+64)
	answers, err := b.conn.ChanSubscribe(b.conn.NewInbox(), messages)
	if err != nil {
		return nil, err
	}
	return &puller{
		b: b, messages: messages, answers: answers,
		subject: fmt.Sprintf("$JS.API.CONSUMER.MSG.NEXT.%s.%s", stream, consumer),
	}, nil
}

// pullRequest is one request; the broker answers it with at most so many
// messages and bytes, and with a notice when it ends before.
type pullRequest struct {
	Batch     int           `json:"batch"`
	MaxBytes  int           `json:"max_bytes"`
	Expires   time.Duration `json:"expires"`
	Heartbeat time.Duration `json:"idle_heartbeat"`
}

// pull makes one request and hands what comes to take, until the request has
// ended or ctx does. An error says that the consumer may be gone; this puller
// is then not to be used again.
func (p *puller) pull(ctx context.Context, batch, maxBytes int, take func(*nats.Msg)) error {
	request, err := json.Marshal(pullRequest{Batch: batch, MaxBytes: maxBytes, Expires: pullExpires, Heartbeat: pullHeartbeat})
	if err != nil {
		return err
	}
	if err := p.b.conn.PublishRequest(p.subject, p.answers.Subject, request); err != nil {
		return err
	}
	silence := time.NewTimer(2 * pullHeartbeat)
	defer silence.Stop()
	for got := 0; got < batch; {
		select {
		case m := <-p.messages:
			if status := m.Header.Get("Status"); status == "" || len(m.Data) > 0 {
				take(m)
				got++
			} else if over, err := ended(status, m.Header.Get("Description"), got); over {
				return err
			}
			silence.Reset(2 * pullHeartbeat)
		case <-silence.C:
			return errSilence
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

var errSilence = fmt.Errorf("consumer has been silent for %s", 2*pullHeartbeat)

// ended reads a notice: whether the request is over, and whether that means that
// something is wrong with the consumer.
func ended(status, description string, got int) (bool, error) {
	switch {
	case status == "100": // a heartbeat
		return false, nil
	case status == "404", status == "408": // nothing came, or no more
		return true, nil
	case status == "409" && description == "Message Size Exceeds MaxBytes" && got > 0:
		return true, nil
	}
	return true, fmt.Errorf("pull: status %s %s", status, description)
}

// close waits for what is on its way and hands it to take.
//
// After a lost connection nothing is, and the subscription must not be made again with the
// next one: the requests still stand at the broker, which would answer them, for as long
// as somebody listens, with messages that nobody takes before AckWait has passed.
func (p *puller) close(take func(*nats.Msg)) {
	if !p.b.conn.IsReconnecting() {
		p.drain()
	}
	_ = p.answers.Unsubscribe() // whatever became of that; fails only when the connection is closed
	for {
		select {
		case m := <-p.messages:
			if m.Header.Get("Status") == "" || len(m.Data) > 0 {
				take(m)
			}
		default:
			return
		}
	}
}

// drain tells the server that no more is wanted and waits until everything has come that it
// had sent before.
func (p *puller) drain() {
	if p.answers.Drain() != nil {
		return // the connection is closed
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := p.b.conn.FlushWithContext(ctx); err != nil {
		p.b.log.Debug("end of pulling", "error", err)
	}
}

const (
	pullExpires   = 30 * time.Second
	pullHeartbeat = 5 * time.Second // a dead consumer is noticed after two
	flushTimeout  = 2 * time.Second
)

// The verbs of acknowledgement, sent to a message's reply subject.
const (
	verbAck        = "+ACK"
	verbNak        = "-NAK"
	verbInProgress = "+WPI"
)

func (b *Broker) acknowledge(m *nats.Msg, verb string) error {
	return b.conn.Publish(m.Reply, []byte(verb))
}

// ackSync waits until the broker has the acknowledgement.
func (b *Broker) ackSync(ctx context.Context, m *nats.Msg) error {
	_, err := b.conn.RequestWithContext(ctx, m.Reply, []byte(verbAck))
	return err
}

// nak gives a message back, to be delivered again after a delay.
func (b *Broker) nak(m *nats.Msg, delay time.Duration) error {
	if delay <= 0 {
		return b.acknowledge(m, verbNak)
	}
	return b.acknowledge(m, fmt.Sprintf(`%s {"delay": %d}`, verbNak, delay.Nanoseconds()))
}
