package fetcher

import (
	"context"

	"millrace/pkg/directory"
	"millrace/pkg/service"
)

// Serve runs the stage until ctx ends.
func Serve(ctx context.Context, env *service.Env) error {
	s, err := env.Stage(Name)
	if err != nil {
		return err
	}
	jobs, err := directory.OpenJobs(ctx, env.Broker)
	if err != nil {
		return err
	}
	if _, err := New(s, jobs, env.Pool, DefaultRetryDelay, env.AttachmentsCapacity); err != nil {
		return err
	}
	return service.Together(ctx, s.Run, func(ctx context.Context) error { return jobs.Watch(ctx, nil) })
}
