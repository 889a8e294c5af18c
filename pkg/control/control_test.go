package control_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/broker/brokertest"
	"millrace/pkg/checkpoint"
	"millrace/pkg/control"
	"millrace/pkg/couch"
	"millrace/pkg/credential"
	"millrace/pkg/endpoint"
	"millrace/pkg/millpond"
	millracev1 "millrace/proto/millrace/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	site      = "here"
	leaseName = "job.base"
	name      = "base"
)

// side is one side of the pipeline, with one database.
type side struct {
	t        *testing.T
	broker   *broker.Broker
	pond     *millpond.Server
	db       *couch.DB
	ref      *millracev1.EndpointRef
	client   *control.Client
	instance string
}

func newSide(t *testing.T) *side {
	t.Helper()
	s := &side{t: t, broker: brokertest.Start(t), pond: millpond.New(millpond.Options{})}
	listener, err := s.pond.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	})
	at := couch.Endpoint{URL: listener.URL + "/db"}
	if s.db, err = couch.Open(at, couch.Options{Retries: -1}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.db.Close)
	if err := s.db.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	kv, err := s.broker.JetStream().KeyValue(t.Context(), s.broker.Buckets().Endpoints)
	if err != nil {
		t.Fatal(err)
	}
	store := endpoint.NewStore(kv, site, nil)
	if s.ref, err = store.Put(t.Context(), endpoint.Endpoint{URL: at.URL}); err != nil {
		t.Fatal(err)
	}
	pool := endpoint.NewPool(store, credential.Rules{}, couch.Options{Retries: -1})
	t.Cleanup(pool.Close)
	s.serve(pool)
	s.client = control.NewClient(s.broker)
	s.instance = s.do(&millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_Info{Info: &millracev1.DatabaseRequest_DatabaseInfo{}}}).InstanceStartTime
	return s
}

func (s *side) serve(pool *endpoint.Pool) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	server := control.NewServer(s.broker, pool, control.Target, site, slog.New(slog.DiscardHandler))
	var group sync.WaitGroup
	group.Go(func() {
		if err := server.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	s.t.Cleanup(group.Wait)
	s.t.Cleanup(cancel)
}

func (s *side) ask(req *millracev1.DatabaseRequest) (*millracev1.DatabaseReply, error) {
	s.t.Helper()
	req = proto.CloneOf(req)
	if req.Endpoint == nil {
		req.Endpoint = s.ref
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	return s.client.Do(ctx, control.Target, site, req)
}

func (s *side) do(req *millracev1.DatabaseRequest) *millracev1.DatabaseReply {
	s.t.Helper()
	reply, err := s.ask(req)
	if err != nil {
		s.t.Fatal(err)
	}
	return reply
}

func (s *side) lease() *broker.Lease {
	s.t.Helper()
	lease, err := s.broker.AcquireLease(s.t.Context(), leaseName, "test", 2*time.Second)
	if err != nil {
		s.t.Fatal(err)
	}
	return lease
}

// put asks for a checkpoint of a session, when the checkpoint there is of the session before.
func (s *side) put(lease *broker.Lease, session, before string, seq string) (*millracev1.DatabaseReply, error) {
	s.t.Helper()
	log := &checkpoint.Log{SessionID: session, SourceLastSeq: []byte(seq), Version: checkpoint.IDVersion}
	body, err := log.MarshalJSON()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.ask(&millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_PutCheckpoint_{
		PutCheckpoint: &millracev1.DatabaseRequest_PutCheckpoint{
			Id: name, Log: body, Lease: leaseName, LeaseRevision: lease.Revision(),
			InstanceStartTime: s.instance, SessionId: before,
		},
	}})
}

func (s *side) mustPut(lease *broker.Lease, session, before, seq string) {
	s.t.Helper()
	if _, err := s.put(lease, session, before, seq); err != nil {
		s.t.Fatal(err)
	}
}

// there is the seq of the checkpoint at the database; empty for none.
func (s *side) there() string {
	s.t.Helper()
	log := &checkpoint.Log{}
	err := s.db.GetLocal(s.t.Context(), name, log)
	if couch.IsNotFound(err) {
		return ""
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return string(log.SourceLastSeq)
}

func (s *side) recreate() {
	s.t.Helper()
	if err := s.db.Delete(s.t.Context()); err != nil {
		s.t.Fatal(err)
	}
	if err := s.db.Create(s.t.Context(), nil); err != nil {
		s.t.Fatal(err)
	}
}

func putLocal(r *http.Request) bool {
	return r.Method == http.MethodPut && millpond.Matching("", "/_local/"+name)(r)
}

func TestCheckpointIsWrittenByTheHolderOfTheLeaseAlone(t *testing.T) {
	s := newSide(t)
	old := s.lease()
	s.mustPut(old, "one", "", `"1"`)
	if err := old.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.put(old, "one", "one", `"2"`); !errors.Is(err, control.ErrNotOwner) {
		t.Errorf("nobody holds the lease: %v", err)
	}
	current := s.lease()
	defer current.Release(t.Context()) //nolint:errcheck // the broker ends with the test
	if _, err := s.put(old, "one", "one", `"3"`); !errors.Is(err, control.ErrNotOwner) {
		t.Errorf("another holds the lease: %v", err)
	}
	if s.there() != `"1"` {
		t.Errorf("the checkpoint became %s", s.there())
	}
	s.mustPut(current, "two", "one", `"4"`)
}

func TestCheckpointIsRefusedByADatabaseThatWasReplaced(t *testing.T) {
	s := newSide(t)
	lease := s.lease()
	defer lease.Release(t.Context()) //nolint:errcheck // the broker ends with the test
	s.mustPut(lease, "one", "", `"1"`)
	s.recreate()
	// Restored from a copy it may even have the run's checkpoint.
	if _, err := s.db.PutLocal(t.Context(), name, &checkpoint.Log{SessionID: "one", SourceLastSeq: []byte(`"1"`)}); err != nil {
		t.Fatal(err)
	}
	_, err := s.put(lease, "one", "one", `"2"`)
	if !errors.Is(err, control.ErrReplaced) {
		t.Errorf("got %v", err)
	}
	if s.there() != `"1"` {
		t.Errorf("written all the same: %s", s.there())
	}
}

// instance_start_time has a resolution of one second; then only the document's absence tells.
func TestCheckpointIsRefusedByADatabaseThatWasReplacedWithinASecond(t *testing.T) {
	s := newSide(t)
	lease := s.lease()
	defer lease.Release(t.Context()) //nolint:errcheck // the broker ends with the test
	s.mustPut(lease, "one", "", `"1"`)
	s.recreate()
	s.instance = s.do(&millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_Info{Info: &millracev1.DatabaseRequest_DatabaseInfo{}}}).InstanceStartTime
	if _, err := s.put(lease, "one", "one", `"2"`); !errors.Is(err, control.ErrReplaced) {
		t.Errorf("without the run's checkpoint: %v", err)
	}
	s.mustPut(lease, "stranger", "", `"9"`)
	if _, err := s.put(lease, "one", "one", `"2"`); !errors.Is(err, control.ErrReplaced) {
		t.Errorf("with somebody else's checkpoint: %v", err)
	}
}

func TestCheckpointOfARunIsRepeatedWhenItsAnswerWasLost(t *testing.T) {
	s := newSide(t)
	lease := s.lease()
	defer lease.Release(t.Context()) //nolint:errcheck // the broker ends with the test
	s.mustPut(lease, "one", "", `"1"`)
	s.mustPut(lease, "two", "one", `"2"`)
	s.mustPut(lease, "two", "one", `"2"`) // the request of before, once more
	if s.there() != `"2"` {
		t.Errorf("the checkpoint is %s", s.there())
	}
}

func TestConflictWithTheSameBodyIsSuccess(t *testing.T) {
	s := newSide(t)
	lease := s.lease()
	defer lease.Release(t.Context()) //nolint:errcheck // the broker ends with the test
	s.mustPut(lease, "one", "", `"1"`)
	conflict := millpond.Fault{Match: putLocal, Times: 1, Status: http.StatusConflict, Body: `{"error":"conflict","reason":"Document update conflict."}`}
	s.pond.Inject(conflict)
	if _, err := s.put(lease, "one", "one", `"1"`); err != nil {
		t.Errorf("what is there is what was to be written: %v", err)
	}
	s.pond.Inject(conflict)
	_, err := s.put(lease, "one", "one", `"2"`)
	var refused *control.Error
	if !errors.As(err, &refused) || refused.Permanent {
		t.Errorf("a conflict with another body is an error that another try may not meet: %v", err)
	}
	s.mustPut(lease, "one", "one", `"2"`)
}

func TestDatabaseThatRefusesCheckpointsIsReadOnlyAndNoError(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		s := newSide(t)
		lease := s.lease()
		s.pond.Inject(millpond.Fault{Match: putLocal, Status: status, Body: `{"error":"forbidden","reason":"no"}`})
		reply, err := s.put(lease, "one", "", `"1"`)
		if err != nil || !reply.ReadOnly {
			t.Errorf("%d: %v, %v", status, reply, err)
		}
		lease.Release(t.Context()) //nolint:errcheck // the broker ends with the test
	}
}

func TestRefusalsAreInCouchDBsWords(t *testing.T) {
	s := newSide(t)
	if err := s.db.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	info := &millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_Info{Info: &millracev1.DatabaseRequest_DatabaseInfo{}}}
	_, err := s.ask(info)
	var refused *control.Error
	if !errors.Is(err, control.ErrNotFound) || !errors.As(err, &refused) || !refused.Permanent || refused.Status != http.StatusNotFound {
		t.Errorf("a missing database: %v", err)
	}
	get := &millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_GetCheckpoint_{
		GetCheckpoint: &millracev1.DatabaseRequest_GetCheckpoint{Id: name},
	}}
	if _, err := s.ask(get); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("the checkpoint of a missing database: %v", err)
	}
	s.pond.Inject(millpond.Fault{Status: http.StatusUnauthorized, Body: `{"error":"unauthorized","reason":"Name or password is incorrect."}`})
	if _, err := s.ask(info); !errors.Is(err, control.ErrDenied) {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := s.ask(&millracev1.DatabaseRequest{Endpoint: &millracev1.EndpointRef{Id: "nobody"}, Request: info.Request}); err == nil {
		t.Error("an unknown endpoint was opened")
	}
}

func TestMissingCheckpointIsNoError(t *testing.T) {
	s := newSide(t)
	reply := s.do(&millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_GetCheckpoint_{
		GetCheckpoint: &millracev1.DatabaseRequest_GetCheckpoint{Id: name},
	}})
	if len(reply.Log) != 0 {
		t.Errorf("got %s", reply.Log)
	}
}

func TestCreateOfADatabaseThatIsThereIsNoError(t *testing.T) {
	s := newSide(t)
	create := &millracev1.DatabaseRequest{Request: &millracev1.DatabaseRequest_Create{Create: &millracev1.DatabaseRequest_CreateDatabase{Params: []byte(`{"q":2,"partitioned":"false"}`)}}}
	s.do(create)
	if err := s.db.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.do(create)
	if _, err := s.db.Info(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestClientAsksUntilAServiceIsThere(t *testing.T) {
	b := brokertest.Start(t)
	client := control.NewClient(b)
	subject := b.Subjects().Control("source", site)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	answered := make(chan error, 1)
	go func() {
		reply, err := client.Do(ctx, control.Source, site, &millracev1.DatabaseRequest{})
		if err == nil && reply.DocCount != 7 {
			err = errors.New("another answer than was given")
		}
		answered <- err
	}()
	// Nobody has been there so far, or somebody is from now on: either way it is answered.
	requests, err := b.Conn().SubscribeSync(subject)
	if err != nil {
		t.Fatal(err)
	}
	m, err := requests.NextMsgWithContext(ctx)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := proto.Marshal(&millracev1.DatabaseReply{DocCount: 7})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Respond(payload); err != nil {
		t.Fatal(err)
	}
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestClientThatWaitsInVainEndsWithItsContext(t *testing.T) {
	client := control.NewClient(brokertest.Start(t))
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("told to stop")
	done := make(chan error, 1)
	go func() {
		_, err := client.Do(ctx, control.Source, site, &millracev1.DatabaseRequest{})
		done <- err
	}()
	cancel(stopped)
	if err := <-done; !errors.Is(err, stopped) && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
