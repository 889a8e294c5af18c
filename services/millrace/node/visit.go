package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/pause"
	writer "millrace/services/bulk-writer/writer"
	fetcher "millrace/services/doc-fetcher/fetcher"
)

const (
	// visitPatience is how long a visit waits for a process that is just starting or ending
	// in the data directory.
	visitPatience = 10 * time.Second
	visitAgain    = 100 * time.Millisecond
)

// Visit returns a client of the pipeline of a data directory, without running any job of it:
// of the process that has the directory, if one has, and of a broker of its own otherwise. Stop
// ends the visit.
func Visit(ctx context.Context, o Options) (*Node, error) {
	deadline := time.Now().Add(visitPatience)
	for {
		n, err := visit(ctx, o)
		if err == nil || !errors.Is(err, broker.ErrDataDirInUse) || time.Now().After(deadline) {
			return n, err
		}
		if err := pause.For(ctx, visitAgain); err != nil {
			return nil, err
		}
	}
}

// visit is one attempt. The error wraps [broker.ErrDataDirInUse] if a process has the directory
// and cannot be reached yet.
func visit(ctx context.Context, o Options) (*Node, error) {
	n := &Node{log: o.Log}
	var err error
	n.embedded, err = broker.StartEmbedded(ctx, broker.EmbeddedOptions{DataDir: o.DataDir, Door: true, Logger: o.Log})
	if errors.Is(err, broker.ErrDataDirInUse) {
		door, derr := broker.Door(o.DataDir)
		if derr != nil {
			return nil, errors.Join(err, derr)
		}
		return visitAt(ctx, o, door)
	}
	if err != nil {
		return nil, err
	}
	if n.Client, err = connect(ctx, o, n.embedded); err != nil {
		return nil, errors.Join(err, n.closeBroker())
	}
	return n, nil
}

// visitAt connects to the process that has the directory.
func visitAt(ctx context.Context, o Options, door string) (*Node, error) {
	ctx, cancel := context.WithTimeout(ctx, visitPatience/2)
	defer cancel()
	o.NATS = door
	client, err := Connect(ctx, o)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("%w, and does not answer: %w", broker.ErrDataDirInUse, err)
	}
	if err != nil {
		return nil, err
	}
	return &Node{Client: client, log: o.Log}, nil
}

// Replays starts what replays rejected documents, if no other process does: the stages at the
// source's and the target's side, and no job.
func (n *Node) Replays(ctx context.Context) {
	if n.embedded == nil || n.stopStages != nil {
		return
	}
	ctx, n.stopStages = context.WithCancel(context.WithoutCancel(ctx))
	n.stopJobs = n.stopStages
	n.run(ctx, &n.stages, fetcher.Name, fetcher.Serve)
	n.run(ctx, &n.stages, writer.Name, writer.Serve)
}

// VisitBroker returns a client of the pipeline at the broker that the options name.
func VisitBroker(ctx context.Context, o Options) (*Node, error) {
	client, err := Connect(ctx, o)
	if err != nil {
		return nil, err
	}
	return &Node{Client: client, log: o.Log}, nil
}
