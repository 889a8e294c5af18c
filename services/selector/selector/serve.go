package selector

import (
	"context"

	"millrace/pkg/directory"
	"millrace/pkg/filter"
	"millrace/pkg/queryserver"
	"millrace/pkg/service"
	millracev1 "millrace/proto/millrace/v1"
)

// Serve runs the stage until ctx ends.
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
	functions := filter.NewFunctions(queryserver.Options{})
	defer functions.Close()
	svc, err := New(s, feeds, jobs, env.Pool, functions)
	if err != nil {
		return err
	}
	return service.Together(ctx, s.Run,
		func(ctx context.Context) error { return jobs.Watch(ctx, nil) },
		func(ctx context.Context) error { return feeds.Each(ctx, svc.changed) })
}

// changed hears of feeds: of one that is no more nothing is kept.
func (svc *Service) changed(id string, feed *millracev1.Feed) {
	if feed == nil {
		svc.rosters.forget(id)
		svc.store.forget(id)
	}
}
