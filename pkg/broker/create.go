package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// ErrUnsuitable says that a NATS is there but cannot hold the streams, and will not
// unless somebody changes its settings or ours.
var ErrUnsuitable = errors.New("this NATS cannot hold the streams")

// Codes of the JetStream API that say so.
const (
	codeNotEnabledForAccount jetstream.ErrorCode = 10039
	codeReplicasNoCluster    jetstream.ErrorCode = 10074
	codeNoStorage            jetstream.ErrorCode = 10047
)

// create makes the streams and buckets what the topology says, until ctx ends. Those that
// are so already, as at the start of all programs but the first, are left alone.
func (b *Broker) create(ctx context.Context) error {
	for _, config := range b.topology.streamConfigs() {
		if err := b.insist(ctx, b.aloud(config.Name, func(ctx context.Context) error {
			return b.createStream(ctx, config)
		})); err != nil {
			return fmt.Errorf("stream %s: %w", config.Name, err)
		}
	}
	for _, config := range b.topology.bucketConfigs() {
		if err := b.insist(ctx, b.aloud(config.Bucket, func(ctx context.Context) error {
			return b.createBucket(ctx, config)
		})); err != nil {
			return fmt.Errorf("bucket %s: %w", config.Bucket, err)
		}
	}
	return nil
}

func (b *Broker) createStream(ctx context.Context, config jetstream.StreamConfig) error {
	err := b.createOrAdopt(ctx, &config)
	if err == nil && config.Retention == jetstream.WorkQueuePolicy {
		b.queueLimit.Store(config.MaxMsgsPerSubject)
	}
	if err == nil && config.Name == b.topology.streams.Bodies {
		b.bodiesBytes.Store(config.MaxBytes)
		b.bodiesAge.Store(int64(config.MaxAge))
	}
	return err
}

// createOrAdopt makes a stream what config says. What nobody told this program stays as
// it is in a stream that is there, and is put into config.
func (b *Broker) createOrAdopt(ctx context.Context, config *jetstream.StreamConfig) error {
	_, err := b.js.CreateStream(ctx, *config)
	if !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return err
	}
	// It is there with other settings.
	s, err := b.js.Stream(ctx, config.Name)
	if err != nil {
		return err
	}
	there := s.CachedInfo().Config
	config.Replicas = b.adopted(there)
	if b.topology.limits.PerSubject == 0 && config.Retention == jetstream.WorkQueuePolicy {
		config.MaxMsgsPerSubject = there.MaxMsgsPerSubject
	}
	if config.Name == b.topology.streams.Bodies {
		b.topology.adoptBodies(config, there)
	}
	if _, err = b.js.CreateStream(ctx, *config); errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		_, err = b.js.UpdateStream(ctx, *config)
	}
	return err
}

func (b *Broker) createBucket(ctx context.Context, config jetstream.KeyValueConfig) error {
	_, err := b.js.CreateKeyValue(ctx, config)
	if !errors.Is(err, jetstream.ErrBucketExists) {
		return err
	}
	s, err := b.js.Stream(ctx, "KV_"+config.Bucket)
	if err != nil {
		return err
	}
	config.Replicas = b.adopted(s.CachedInfo().Config)
	if _, err = b.js.CreateKeyValue(ctx, config); errors.Is(err, jetstream.ErrBucketExists) {
		_, err = b.js.UpdateKeyValue(ctx, config)
	}
	return err
}

// adopted is how many replicas a stream that is there shall have: a client that was not
// told (the command line, usually) must not reduce those that the services run with.
func (b *Broker) adopted(there jetstream.StreamConfig) int {
	if b.topology.replicas > 0 {
		return b.topology.replicas
	}
	return there.Replicas
}

// aloud is do that says in the log, once, why it has to be done again: whoever starts a
// program and sees it wait should not have to guess. What only a person can change ends
// it with [ErrUnsuitable].
func (b *Broker) aloud(what string, do func(context.Context) error) func(context.Context) error {
	var said string
	return func(ctx context.Context) error {
		err := do(ctx)
		if unsuitable(err) {
			return fmt.Errorf("%w: %w", ErrUnsuitable, err)
		}
		if err != nil && !final(err) && err.Error() != said {
			said = err.Error()
			b.log.Warn("cannot make a stream or bucket yet", "name", what, "error", err)
		}
		return err
	}
}

func unsuitable(err error) bool {
	var api *jetstream.APIError
	if !errors.As(err, &api) {
		return false
	}
	switch api.ErrorCode {
	case codeNotEnabledForAccount, codeReplicasNoCluster, codeNoStorage:
		return true
	}
	return false
}
