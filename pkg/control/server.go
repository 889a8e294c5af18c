package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/couch"
	"millrace/pkg/endpoint"
	millracev1 "millrace/proto/millrace/v1"
)

const (
	// atOnce bounds the requests that one server works on: a database that hangs
	// must not keep others from their checkpoints.
	atOnce = 64
	// queued is how many requests wait for a server: one for each of as many jobs that begin at once. What
	// comes beyond is dropped, and asked for again after [silence].
	queued = 1 << 16
)

// Server answers requests about the databases of one side at one site. Any
// number of servers may run; each request is answered by one.
type Server struct {
	broker *broker.Broker
	pool   *endpoint.Pool
	side   Side
	site   string
	log    *slog.Logger
}

// NewServer returns a server; [Server.Run] starts it.
func NewServer(b *broker.Broker, pool *endpoint.Pool, side Side, site string, log *slog.Logger) *Server {
	return &Server{broker: b, pool: pool, side: side, site: site, log: log}
}

// Run answers requests until ctx ends, and waits for those under way.
func (s *Server) Run(ctx context.Context) error {
	requests := make(chan *nats.Msg, queued)
	subject := s.broker.Subjects().Control(string(s.side), s.site)
	sub, err := s.broker.Conn().ChanQueueSubscribe(subject, "control", requests)
	if err != nil {
		return fmt.Errorf("serve %s: %w", subject, err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone, and with it the subscription
	places := make(chan struct{}, atOnce)
	var group sync.WaitGroup
	defer group.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case msg := <-requests:
			group.Go(func() { s.serve(ctx, msg, places) })
		}
	}
}

// serve answers a request when there is a place. Who asked hears that it is in hand before that: a
// request that is repeated because it waits makes all wait longer.
func (s *Server) serve(ctx context.Context, msg *nats.Msg, places chan struct{}) {
	stop := s.working(msg)
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		stop()
		return // it is asked again, and another service takes it
	}
	reply := s.answer(ctx, msg.Data)
	<-places
	stop()
	payload, err := proto.Marshal(reply)
	if err == nil {
		err = msg.Respond(payload)
	}
	if err != nil {
		s.log.WarnContext(ctx, "reply lost; the request will be repeated", "error", err)
	}
}

// working tells who asked, again and again until stop, that the request is worked on.
func (s *Server) working(msg *nats.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	group.Go(func() {
		ticker := time.NewTicker(signOfLife)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			sign := &nats.Msg{Header: nats.Header{headerWorking: {"1"}}}
			if err := msg.RespondMsg(sign); err != nil {
				s.log.DebugContext(ctx, "sign of life lost", "error", err)
			}
		}
	})
	return func() {
		cancel()
		group.Wait()
	}
}

func (s *Server) answer(ctx context.Context, payload []byte) *millracev1.DatabaseReply {
	req := &millracev1.DatabaseRequest{}
	if err := proto.Unmarshal(payload, req); err != nil {
		return &millracev1.DatabaseReply{Error: "bad_request", Reason: err.Error(), Status: http.StatusBadRequest, Permanent: true}
	}
	db, err := s.pool.DB(ctx, req.Endpoint)
	if err != nil {
		return &millracev1.DatabaseReply{Error: "endpoint", Reason: err.Error(), Permanent: couch.Classify(err) == couch.Permanent}
	}
	reply, err := s.do(ctx, db, req)
	if err != nil {
		return refusal(db, err)
	}
	return reply
}

func (s *Server) do(ctx context.Context, db *couch.DB, req *millracev1.DatabaseRequest) (*millracev1.DatabaseReply, error) {
	switch r := req.Request.(type) {
	case *millracev1.DatabaseRequest_Info:
		return info(ctx, db)
	case *millracev1.DatabaseRequest_Create:
		return create(ctx, db, r.Create.Params)
	case *millracev1.DatabaseRequest_GetCheckpoint_:
		log, err := readLog(ctx, db, r.GetCheckpoint.Id)
		return &millracev1.DatabaseReply{Log: log}, err
	case *millracev1.DatabaseRequest_PutCheckpoint_:
		return s.putCheckpoint(ctx, db, r.PutCheckpoint)
	case *millracev1.DatabaseRequest_Pending:
		return pending(ctx, db, r.Pending.Since)
	case *millracev1.DatabaseRequest_GetFilter_:
		return getFilter(ctx, db, r.GetFilter)
	default:
		return nil, fmt.Errorf("unknown request %T", req.Request)
	}
}

func info(ctx context.Context, db *couch.DB) (*millracev1.DatabaseReply, error) {
	i, err := db.Info(ctx)
	if err != nil {
		return nil, err
	}
	seq, err := i.UpdateSeq.MarshalJSON()
	return &millracev1.DatabaseReply{
		InstanceStartTime: i.InstanceStartTime, UpdateSeq: seq, DocCount: uint64(max(0, i.DocCount)),
		DocSize: uint64(max(0, i.Sizes.External) / max(1, i.DocCount)),
	}, err
}

// create makes the database. As in CouchDB's replicator only a refusal of the
// credential is an error here; what else is wrong shows when the database is opened.
func create(ctx context.Context, db *couch.DB, params []byte) (*millracev1.DatabaseReply, error) {
	query, err := parameters(params)
	if err != nil {
		return nil, err
	}
	err = db.Create(ctx, query)
	if couch.IsUnauthorized(err) || couch.IsForbidden(err) || (err != nil && couch.Classify(err) == couch.Transient) {
		return nil, err
	}
	return &millracev1.DatabaseReply{}, nil
}

func parameters(params []byte) (url.Values, error) {
	query := url.Values{}
	if len(params) == 0 {
		return query, nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(params, &object); err != nil {
		return nil, fmt.Errorf("create_target_params: %w", err)
	}
	for name, value := range object {
		var text string
		if json.Unmarshal(value, &text) != nil {
			text = string(value)
		}
		query.Set(name, text)
	}
	return query, nil
}

func pending(ctx context.Context, db *couch.DB, since []byte) (*millracev1.DatabaseReply, error) {
	seq, err := couch.ParseSeq(since)
	if err != nil {
		return nil, err
	}
	n, err := db.Pending(ctx, seq)
	return &millracev1.DatabaseReply{Pending: n}, err
}

// refusal puts an error into CouchDB's words for a replication that cannot start.
func refusal(db *couch.DB, err error) *millracev1.DatabaseReply {
	r := &millracev1.DatabaseReply{
		// The one document that is written here is the checkpoint: nothing else can be to blame.
		Error: "error", Reason: err.Error(), Permanent: couch.Classify(err) != couch.Transient,
	}
	var answer *couch.HTTPError
	var own *Error
	var dns *net.DNSError
	switch {
	case errors.As(err, &own):
		r.Error, r.Reason, r.Permanent = own.Word, own.Reason, own.Permanent
	case errors.Is(err, couch.ErrMaxBackoff):
		r.Error = couch.ErrMaxBackoff.Error()
		r.Reason = strings.TrimPrefix(r.Reason, r.Error+": ")
	case errors.As(err, &dns) && dns.IsNotFound && strings.Contains(db.String(), "//"+dns.Name): // and not a proxy's name
		r.Error, r.Reason = "nxdomain", fmt.Sprintf("could not resolve %s", db)
	case couch.IsNotFound(err):
		r.Error, r.Reason = ErrNotFound.Error(), fmt.Sprintf("could not open %s", db)
	case couch.IsUnauthorized(err):
		r.Error, r.Reason = ErrDenied.Error(), fmt.Sprintf("unauthorized to access or create database %s", db)
	case couch.IsConflict(err): // somebody else's write, which the next try takes into account
		r.Permanent = false
	case couch.IsForbidden(err):
		r.Error, r.Reason = "forbidden", db.String()
	}
	if errors.As(err, &answer) {
		r.Status, r.RetryAfterMs = int32(answer.Status), answer.RetryAfter.Milliseconds()
	}
	var throttled *couch.ThrottledError
	if errors.As(err, &throttled) {
		r.RetryAfterMs = throttled.RetryAfter.Milliseconds()
	}
	return r
}
