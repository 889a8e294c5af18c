package selector

import (
	"context"

	"millrace/pkg/directory"
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
	if _, err := New(s, feeds); err != nil {
		return err
	}
	return service.Together(ctx, s.Run, func(ctx context.Context) error {
		return feeds.Each(ctx, func(string, *millracev1.Feed) {})
	})
}
