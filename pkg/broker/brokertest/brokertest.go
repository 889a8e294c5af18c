// Package brokertest gives tests a real broker of their own.
package brokertest

import (
	"context"
	"testing"
	"time"

	"millrace/pkg/broker"
)

// closeTimeout bounds the end of a test whose broker does not answer any more.
const closeTimeout = 10 * time.Second

// Start starts a broker in this process, with its streams in a directory of the test's,
// and connects to it. Both end with the test.
func Start(t *testing.T) *broker.Broker {
	t.Helper()
	e, err := broker.StartEmbedded(t.Context(), broker.EmbeddedOptions{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	b, err := broker.Connect(t.Context(), broker.Options{Embedded: e, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := b.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return b
}
