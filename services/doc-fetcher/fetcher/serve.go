package fetcher

import (
	"context"

	"millrace/pkg/directory"
	"millrace/pkg/filter"
	"millrace/pkg/queryserver"
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
	feeds, err := directory.OpenFeeds(ctx, env.Broker)
	if err != nil {
		return err
	}
	functions := filter.NewFunctions(queryserver.Options{})
	defer functions.Close()
	svc, err := New(s, jobs, feeds, env.Pool, Options{
		AttachmentsCapacity: env.AttachmentsCapacity, IndexMemory: env.BodiesIndex, Functions: functions,
	})
	if err != nil {
		return err
	}
	return service.Together(ctx, s.Run, svc.stock.expire,
		func(ctx context.Context) error { return jobs.Watch(ctx, nil) },
		func(ctx context.Context) error { return feeds.Each(ctx, svc.stock.changed) })
}
