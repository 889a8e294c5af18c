package reader

import (
	"context"

	"millrace/pkg/control"
	"millrace/pkg/directory"
	"millrace/pkg/service"
)

// Serve reads feeds, and answers the control side about sources, until ctx ends.
func Serve(ctx context.Context, env *service.Env) error {
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
	svc := New(s, feeds, jobs, env.Pool, env.Holder)
	databases := control.NewServer(env.Broker, env.Pool, control.Source, env.Site, env.Log)
	return service.Together(ctx, svc.Run, databases.Run)
}
