package node

import (
	"context"
	"errors"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/control"
	"millrace/pkg/directory"
	"millrace/pkg/service"
	"millrace/services/replicator/replicator"
)

// Client is what submits jobs to a pipeline, wherever its services run, and sees how
// they go.
type Client struct {
	env      *service.Env
	registry *replicator.Registry
	jobs     *directory.Jobs
}

// closePatience is how long a client takes at most to disconnect.
const closePatience = 10 * time.Second

// Connect returns a client of the pipeline whose services are at the NATS broker that
// the options name.
func Connect(ctx context.Context, o Options) (*Client, error) { return connect(ctx, o, nil) }

func connect(ctx context.Context, o Options, embedded *broker.Embedded) (*Client, error) {
	uuid, err := serverUUID(o.UUID, o.UUIDFile)
	if err != nil {
		return nil, err
	}
	env, err := service.Open(ctx, o.Config, "millrace", embedded, o.Log)
	if err != nil {
		return nil, err
	}
	c := &Client{env: env}
	if c.jobs, err = directory.OpenJobs(ctx, env.Broker); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	c.registry = replicator.NewRegistry(c.jobs, env.Endpoints, control.NewClient(env.Broker), uuid)
	return c, nil
}

// Registry makes jobs.
func (c *Client) Registry() *replicator.Registry { return c.registry }

// Jobs is the directory of jobs.
func (c *Client) Jobs() *directory.Jobs { return c.jobs }

// Broker is the connection to the broker.
func (c *Client) Broker() *broker.Broker { return c.env.Broker }

// Close disconnects.
func (c *Client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	return c.env.Close(ctx)
}
