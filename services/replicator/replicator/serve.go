package replicator

import (
	"context"

	"millrace/pkg/directory"
	"millrace/pkg/service"
)

// Serve owns jobs until ctx ends.
func Serve(ctx context.Context, env *service.Env) error {
	return ServeWith(Options{})(ctx, env)
}

// ServeWith is [Serve] with options; Holder and Log are the environment's.
func ServeWith(o Options) service.Service {
	return func(ctx context.Context, env *service.Env) error {
		jobs, err := directory.OpenJobs(ctx, env.Broker)
		if err != nil {
			return err
		}
		feeds, err := directory.OpenFeeds(ctx, env.Broker)
		if err != nil {
			return err
		}
		o.Holder, o.Log = env.Holder, env.Log
		return New(env.Broker, jobs, feeds, o).Run(ctx)
	}
}
