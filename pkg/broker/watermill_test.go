package broker_test

import (
	"os"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// suite prepares a stream whose subjects the suite's topics are.
func suite(t *testing.T, o broker.SubscriberOptions) (*broker.Broker, tests.Features, tests.ConsumerGroupPubSubConstructor) {
	b := newBroker(t, broker.Limits{})
	createStream(t, b, jetstream.StreamConfig{Name: "SUITE", Subjects: []string{"suite.*"}, AllowDirect: true})
	features := tests.Features{
		ConsumerGroups: true,
		Persistent:     true,
		// The suite has time limits of its own (45 seconds for 10,000 messages), which
		// its large numbers come near to with the race detector on a machine that has
		// other work.
		ForceShort: os.Getenv("MILLRACE_TEST_LONG") == "",
		GenerateTopicFunc: func(c tests.TestContext) string {
			return "suite." + broker.Token(string(c.TestID))
		},
	}
	o.DrainTimeout = 100 * time.Millisecond // the suite leaves messages unanswered
	o.AckWait = 2 * time.Second
	// The suite refuses one message three hundred times in a row: in order, the wait
	// before each is all that it does.
	o.NakDelay, o.NakDelayMax = time.Millisecond, 5*time.Millisecond
	return b, features, func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		o := o
		o.Durable = broker.Token(group)
		s, err := broker.NewSubscriber(b, o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, s.Close()) }) // the suite forgets some
		return broker.NewPublisher(b, broker.PublisherOptions{}), s
	}
}

func TestPublisherAndSubscriberPassWatermillsSuite(t *testing.T) {
	_, features, construct := suite(t, broker.SubscriberOptions{})
	tests.TestPubSub(t, features, func(t *testing.T) (message.Publisher, message.Subscriber) {
		return construct(t, "all")
	}, construct)
}

func TestOneMessageAtATimeKeepsTheOrder(t *testing.T) {
	_, features, construct := suite(t, broker.SubscriberOptions{InFlight: 1, MaxAckPending: 1})
	features.GuaranteedOrder = true
	features.GuaranteedOrderWithSingleSubscriber = true
	tests.TestPubSub(t, features, func(t *testing.T) (message.Publisher, message.Subscriber) {
		return construct(t, "all")
	}, construct)
}
