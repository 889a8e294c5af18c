package directory_test

import (
	"context"
	"net"
	"testing"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/directory"
	millracev1 "millrace/proto/millrace/v1"
)

// connected is a directory on a connection of its own.
func connected(t *testing.T, url string) *directory.Jobs {
	t.Helper()
	b, err := broker.Connect(t.Context(), broker.Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = b.Close(ctx) // its server may be gone by now
	})
	return openJobs(t, b)
}

func TestWatchGoesOnAfterARestartOfTheBrokerAndTellsWhatIsNew(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := broker.EmbeddedOptions{DataDir: t.TempDir(), Listen: free.Addr().String()}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	start := func() *broker.Embedded {
		server, err := broker.StartEmbedded(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return server
	}
	server := start()
	watched, other := connected(t, server.ClientURL()), connected(t, server.ClientURL())
	writeJob(t, other, &millracev1.Job{Id: "stays"}, 0)
	writeJob(t, other, &millracev1.Job{Id: "goes"}, 0)
	type change struct {
		id   string
		gone bool
	}
	changes := make(chan change, 16)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- watched.Watch(ctx, func(id string, job *millracev1.Job) { changes <- change{id, job == nil} })
	}()
	expect := func(want change) {
		t.Helper()
		select {
		case got := <-changes:
			if got != want {
				t.Fatalf("told %+v, not %+v", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("not told of %+v", want)
		}
	}
	expect(change{"stays", false})
	expect(change{"goes", false})

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	server = start()
	defer server.Close() //nolint:errcheck // the test is over
	if err := other.Remove(t.Context(), "goes"); err != nil {
		t.Fatal(err)
	}
	expect(change{"goes", true})
	writeJob(t, other, &millracev1.Job{Id: "comes"}, 0)
	expect(change{"comes", false})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if len(changes) > 0 {
		t.Errorf("told of %+v as well", <-changes)
	}
}
