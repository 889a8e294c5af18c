// Package stage is the frame around the work of a service: it takes messages of
// one kind from a stream through Watermill's Router, knows which of them are
// worth working on, and publishes what comes of them. The work itself is a function from a
// message to what it publishes; it keeps nothing (invariant 6).
package stage

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/message/router/middleware"
	"go.opentelemetry.io/otel/trace"

	"millrace/pkg/broker"
	"millrace/pkg/telemetry"
)

// Options say what a stage runs on.
type Options struct {
	// Name of the stage, as it stands in events, traces and logs.
	Name string
	// Site that the stage works at.
	Site string
	// Broker it takes messages from and publishes to.
	Broker *broker.Broker
	// Telemetry makes its spans; nil means none.
	Telemetry *telemetry.Telemetry
	// Log gets what operators should know.
	Log *slog.Logger
	// PerJob is how many batches of one job the stage works on at once, unless the job
	// says otherwise. Required.
	PerJob int
}

// Stage is one instance of a stage. Any number of instances of the same stage may
// run, in one process or in many.
type Stage struct {
	name, site string
	broker     *broker.Broker
	publisher  *broker.Publisher
	router     *message.Router
	subs       []*broker.Subscriber
	perJob     int
	tracer     trace.Tracer
	log        *slog.Logger
}

// New returns a stage without handlers; [Consume] adds them and Run starts them.
func New(o Options) (*Stage, error) {
	if o.Telemetry == nil {
		o.Telemetry = telemetry.Disabled()
	}
	router, err := message.NewRouter(message.RouterConfig{}, watermill.NopLogger{})
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", o.Name, err)
	}
	s := &Stage{
		name: o.Name, site: o.Site, broker: o.Broker, router: router, perJob: o.PerJob,
		publisher: broker.NewPublisher(o.Broker, broker.PublisherOptions{}),
		tracer:    o.Telemetry.Tracer("millrace/" + o.Name),
		log:       o.Log.With("stage", o.Name, "site", o.Site),
	}
	router.AddMiddleware(s.settle, middleware.Recoverer, telemetry.Trace(s.tracer, o.Name))
	return s, nil
}

// Name is the stage's name.
func (s *Stage) Name() string { return s.name }

// Site is the site that the stage works at.
func (s *Stage) Site() string { return s.site }

// Broker is the broker that the stage runs on.
func (s *Stage) Broker() *broker.Broker { return s.broker }

// Publisher is the stage's publisher, for what [Stage.Publish] does not cover.
func (s *Stage) Publisher() *broker.Publisher { return s.publisher }

// Tracer makes the stage's spans.
func (s *Stage) Tracer() trace.Tracer { return s.tracer }

// Log is the stage's logger.
func (s *Stage) Log() *slog.Logger { return s.log }

// Run takes messages until ctx ends; then it stops taking more, lets the handlers
// finish and returns. What is not finished is delivered again, to whoever is there.
func (s *Stage) Run(ctx context.Context) error {
	err := s.router.Run(ctx)
	for _, sub := range s.subs {
		if cerr := sub.Close(); err == nil {
			err = cerr
		}
	}
	if cerr := s.publisher.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("stage %s: %w", s.name, err)
	}
	return nil
}
