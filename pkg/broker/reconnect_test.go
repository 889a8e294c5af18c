package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// The requests of the connection before still stand at the broker when the next one comes,
// and must not be answered to where nobody listens. With an AckWait this long, what was
// would not come again.
func TestReconnectingLosesNoDelivery(t *testing.T) {
	e := startEmbedded(t, broker.EmbeddedOptions{Listen: "127.0.0.1:0"})
	b := connect(t, broker.Options{URL: e.ClientURL()})
	other := connect(t, broker.Options{Embedded: e})
	subject := b.Subjects().Write("default", "job")
	messages, _ := subscribe(t, b, subject, broker.SubscriberOptions{AckWait: time.Hour, AckSync: true})
	for round := range 5 {
		before := b.Conn().Stats().Reconnects
		require.NoError(t, b.Conn().ForceReconnect())
		await(t, "it is connected again", func() bool { return b.Conn().Stats().Reconnects > before && b.Status().Connected })
		for i := range 10 {
			content := fmt.Sprintf("%d.%d", round, i)
			publish(t, other, subject, content)
			m := receive(t, messages)
			require.Equal(t, content, string(m.Payload))
			m.Ack()
		}
	}
}
