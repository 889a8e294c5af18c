package stage

import (
	"context"

	"github.com/ThreeDotsLabs/watermill/message"

	"millrace/pkg/broker"
)

// subscriber ends a subscription that is told to stop while it begins like one that had
// begun. Watermill's Router waits for ever for the end of a handler whose subscription failed.
type subscriber struct{ *broker.Subscriber }

// Subscribe implements [message.Subscriber].
func (s subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	messages, err := s.Subscriber.Subscribe(ctx, topic)
	if err == nil || ctx.Err() == nil {
		return messages, err
	}
	none := make(chan *message.Message)
	close(none)
	return none, nil
}
