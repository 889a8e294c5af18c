package broker

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

func TestDeployedConfigurationIsOneThatNATSTakes(t *testing.T) {
	o, err := server.ProcessConfigFile("../../deploy/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	if o.Host != "127.0.0.1" || !o.JetStream || o.MaxPayload < 1<<20 {
		t.Fatalf("host %q, JetStream %v, max payload %d", o.Host, o.JetStream, o.MaxPayload)
	}
}
