package stage_test

import (
	"context"
	"testing"

	"millrace/pkg/broker"
	"millrace/pkg/broker/brokertest"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
)

// Nothing of it is left; goleak looks.
func TestStageThatIsToldToStopBeforeItHasBegunEnds(t *testing.T) {
	b := brokertest.Start(t)
	for range 10 {
		s := newStage(t, b)
		for _, durable := range []string{"one", "two", "three"} {
			in := stage.Input{Stream: b.Streams().Changes, Filter: b.Subjects().Changes(broker.Any), Durable: durable, InFlight: 1}
			err := stage.Consume(s, in, func(context.Context, *millracev1.ChangesBatch) error { return nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Run(ctx); err != nil {
			t.Error(err)
		}
	}
}
