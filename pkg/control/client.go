package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/pause"
	"millrace/pkg/rounds"
	millracev1 "millrace/proto/millrace/v1"
)

const (
	// silence is how long a request waits for a sign of the service that works on it. A
	// service may need minutes where a database does not answer, and says so
	// meanwhile; one that was killed says nothing, and another is asked.
	silence = 5 * time.Second
	// signOfLife is how often a service says that it works on a request.
	signOfLife = silence / 5
	// askAgain is the wait before a request is repeated that no service took.
	askAgain = 100 * time.Millisecond
)

// noResponders is the status of the server's answer where nobody has subscribed.
const noResponders = "503"

// headerWorking marks a message that is not the reply yet.
const headerWorking = "Millrace-Working"

// Client asks the services of both sides.
type Client struct {
	broker *broker.Broker
	looks  rounds.Rounds[string, struct{}, *millracev1.DatabaseReply]
}

// NewClient returns a client over the broker.
func NewClient(b *broker.Broker) *Client { return &Client{broker: b} }

// Do asks the side's services at the site and waits for the answer, and for a
// service to be there, until ctx ends. Errors of the database are of type *[Error].
func (c *Client) Do(ctx context.Context, side Side, site string, req *millracev1.DatabaseRequest) (*millracev1.DatabaseReply, error) {
	payload, err := proto.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode request: %w", err)
	}
	subject := c.broker.Subjects().Control(string(side), site)
	if !looking(req) {
		return c.insist(ctx, side, site, subject, payload)
	}
	key := subject + "\n" + string(payload)
	return c.looks.Do(ctx, key, struct{}{}, func(ctx context.Context, _ []struct{}) (*millracev1.DatabaseReply, error) {
		return c.insist(ctx, side, site, subject, payload)
	})
}

// looking reports whether a request only asks how a database is, so that one answer serves all who ask:
// hundreds of jobs of one source ask the same when they begin.
func looking(req *millracev1.DatabaseRequest) bool {
	switch req.Request.(type) {
	case *millracev1.DatabaseRequest_Info, *millracev1.DatabaseRequest_Pending:
		return true
	}
	return false
}

// insist asks until there is an answer.
func (c *Client) insist(ctx context.Context, side Side, site, subject string, payload []byte) (*millracev1.DatabaseReply, error) {
	for {
		reply, err := c.ask(ctx, subject, payload)
		switch {
		case err == nil:
			return reply, errorOf(side, reply)
		case ctx.Err() != nil:
			return nil, fmt.Errorf("ask the %s side at site %s: %w", side, site, context.Cause(ctx))
		case !errors.Is(err, nats.ErrNoResponders) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout) &&
			!errors.Is(err, nats.ErrDisconnected) && !errors.Is(err, nats.ErrConnectionReconnecting):
			return nil, fmt.Errorf("ask the %s side at site %s: %w", side, site, err)
		}
		if err := pause.For(ctx, askAgain); err != nil {
			return nil, fmt.Errorf("ask the %s side at site %s: no service there: %w", side, site, err)
		}
	}
}

// ask asks once. The error is context.DeadlineExceeded when nothing was heard for too long.
func (c *Client) ask(ctx context.Context, subject string, payload []byte) (*millracev1.DatabaseReply, error) {
	conn := c.broker.Conn()
	inbox := conn.NewInbox()
	// Not SubscribeSync, whose channel takes half a megabyte.
	answers := make(chan *nats.Msg, 16)
	sub, err := conn.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, err
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be closed, and with it the subscription
	if err := conn.PublishRequest(subject, inbox, payload); err != nil {
		return nil, err
	}
	for {
		msg, err := next(ctx, answers)
		if err != nil {
			return nil, err
		}
		if msg.Header.Get(headerWorking) != "" {
			continue
		}
		reply := &millracev1.DatabaseReply{}
		if err := proto.Unmarshal(msg.Data, reply); err != nil {
			return nil, fmt.Errorf("decode reply: %w", err)
		}
		return reply, nil
	}
}

// next returns the next message. The error of a service that says nothing for too long is
// context.DeadlineExceeded.
func next(ctx context.Context, answers <-chan *nats.Msg) (*nats.Msg, error) {
	patience := time.NewTimer(silence)
	defer patience.Stop()
	select {
	case msg := <-answers:
		if len(msg.Data) == 0 && msg.Header.Get("Status") == noResponders {
			return nil, nats.ErrNoResponders
		}
		return msg, nil
	case <-patience.C:
		return nil, context.DeadlineExceeded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
