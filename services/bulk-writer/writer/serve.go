package writer

import (
	"context"

	"millrace/pkg/control"
	"millrace/pkg/directory"
	"millrace/pkg/service"
	"millrace/services/bulk-writer/messages"
)

// Serve runs the stage, and answers the control side about targets, until ctx
// ends.
func Serve(ctx context.Context, env *service.Env) error {
	s, err := env.Stage(Name)
	if err != nil {
		return err
	}
	jobs, err := directory.OpenJobs(ctx, env.Broker)
	if err != nil {
		return err
	}
	read := messages.New(env.BodiesCache)
	if _, err := New(s, jobs, env.Pool, read); err != nil {
		return err
	}
	databases := control.NewServer(env.Broker, env.Pool, control.Target, env.Site, env.Log)
	return service.Together(ctx, s.Run, databases.Run, read.Expire, func(ctx context.Context) error { return jobs.Watch(ctx, nil) })
}
