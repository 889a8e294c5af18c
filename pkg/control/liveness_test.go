package control_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker/brokertest"
	"millrace/pkg/control"
	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
)

// A service that is killed with a request in hand must not hold up the run whose
// checkpoint it was to write.
func TestClientAsksAnotherServiceWhenTheFirstFallsSilent(t *testing.T) {
	t.Parallel()
	b := brokertest.Start(t)
	requests, err := b.Conn().SubscribeSync(b.Subjects().Control("source", site))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		_, err := control.NewClient(b).Do(ctx, control.Source, site, &millracev1.DatabaseRequest{})
		answered <- err
	}()
	if _, err := requests.NextMsgWithContext(ctx); err != nil { // and never a word again
		t.Fatal(err)
	}
	again, err := requests.NextMsgWithContext(ctx)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := proto.Marshal(&millracev1.DatabaseReply{})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Respond(payload); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestClientWaitsForAServiceWhoseDatabaseIsSlow(t *testing.T) {
	t.Parallel()
	s := newSide(t)
	before := s.pond.Requests().Of(http.MethodGet, "db")
	// Longer than a service may be silent.
	s.pond.Inject(millpond.Fault{Match: millpond.Matching(http.MethodGet, "/db"), Delay: 7 * time.Second, Times: 1})
	s.do(&millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_Info{Info: &millracev1.DatabaseRequest_DatabaseInfo{}}})
	if asked := s.pond.Requests().Of(http.MethodGet, "db") - before; asked != 1 {
		t.Errorf("the database was asked %d times", asked)
	}
}
