package reader

import (
	"context"

	"millrace/pkg/control"
	"millrace/pkg/directory"
	"millrace/pkg/service"
	"millrace/services/changes-reader/quiet"
)

// Serve is [ServeWith] with the options that the program was started with.
func Serve(ctx context.Context, env *service.Env) error {
	return ServeWith(Options{QuietAfter: env.QuietAfter, Quiet: quiet.Options{Least: env.QuietFeeds}})(ctx, env)
}

// ServeWith reads feeds, and answers the control side about sources, until ctx ends.
func ServeWith(o Options) service.Service {
	return func(ctx context.Context, env *service.Env) error { return serve(ctx, env, o) }
}

func serve(ctx context.Context, env *service.Env, o Options) error {
	s, err := env.Stage(Name)
	if err != nil {
		return err
	}
	feeds, err := directory.OpenFeeds(ctx, env.Broker)
	if err != nil {
		return err
	}
	jobs, err := directory.OpenJobs(ctx, env.Broker)
	if err != nil {
		return err
	}
	svc := New(s, feeds, jobs, env.Pool, env.Holder, o)
	databases := control.NewServer(env.Broker, env.Pool, control.Source, env.Site, env.Log)
	return service.Together(ctx, svc.Run, databases.Run)
}
