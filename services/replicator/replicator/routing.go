package replicator

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	millracev1 "millrace/proto/millrace/v1"
)

// routing is a record of what is routed, as all runs of its feed read it.
type routing struct {
	*millracev1.Routed
	// runs that got rows, and that were passed over, by job.
	named, skipped map[string]uint64
}

func decodeRouting(e broker.Entry) (*routing, error) {
	m := &millracev1.Routed{}
	if err := proto.Unmarshal(e.Data, m); err != nil {
		return nil, fmt.Errorf("decode record %d of what is routed: %w", e.Sequence, err)
	}
	return &routing{Routed: m, named: runsOf(m.Named), skipped: runsOf(m.Skipped)}, nil
}

func runsOf(jobs []*millracev1.RoutedJob) map[string]uint64 {
	if len(jobs) == 0 {
		return nil
	}
	runs := make(map[string]uint64, len(jobs))
	for _, j := range jobs {
		runs[j.Job] = j.Run
	}
	return runs
}

func decodeDone(e broker.Entry) (*millracev1.Done, error) {
	m := &millracev1.Done{}
	if err := proto.Unmarshal(e.Data, m); err != nil {
		return nil, fmt.Errorf("decode record %d of what is done: %w", e.Sequence, err)
	}
	return m, nil
}

func decodeEvent(e broker.Entry) (*millracev1.Event, error) {
	m := &millracev1.Event{}
	if err := proto.Unmarshal(e.Data, m); err != nil {
		return nil, fmt.Errorf("decode event %d: %w", e.Sequence, err)
	}
	return m, nil
}
