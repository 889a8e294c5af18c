package service_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBroken = errors.New("broken")

func TestServiceIsStartedAgainAfterEachFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	starts := 0
	service.Supervise(ctx, slog.New(slog.DiscardHandler), "test", func(ctx context.Context) error {
		if starts++; starts < 3 {
			return errBroken
		}
		cancel()
		<-ctx.Done()
		return nil
	})
	if starts != 3 {
		t.Errorf("started %d times", starts)
	}
}

func TestServiceThatEndsByItselfIsStartedAgain(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	starts := 0
	service.Supervise(ctx, slog.New(slog.DiscardHandler), "test", func(context.Context) error {
		if starts++; starts == 2 {
			cancel()
		}
		return nil
	})
	if starts != 2 {
		t.Errorf("started %d times", starts)
	}
}

func TestSupervisionEndsWhileItWaits(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan struct{})
	go func() {
		<-failed
		cancel()
	}()
	starts := 0
	service.Supervise(ctx, slog.New(slog.DiscardHandler), "test", func(context.Context) error {
		if starts++; starts == 1 {
			close(failed)
		}
		return errBroken
	})
	if starts == 0 {
		t.Error("never started")
	}
}

func TestPartsOfAServiceEndTogether(t *testing.T) {
	ended := make(chan struct{})
	err := service.Together(t.Context(),
		func(context.Context) error { return errBroken },
		func(ctx context.Context) error {
			<-ctx.Done()
			close(ended)
			return nil
		})
	if !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
	default:
		t.Error("one part was left behind")
	}
}

func TestConfigurationThatCannotBeIsRefused(t *testing.T) {
	sound := func() service.Config {
		return service.Config{Namespace: "millrace", Site: "here", Replicas: 1}
	}
	c := sound()
	if err := c.Check(); err != nil {
		t.Errorf("a sound one: %v", err)
	}
	for name, spoil := range map[string]func(*service.Config){
		"namespace with a dot": func(c *service.Config) { c.Namespace = "a.b" },
		"empty namespace":      func(c *service.Config) { c.Namespace = "" },
		"site with a wildcard": func(c *service.Config) { c.Site = "*" },
		"negative replicas":    func(c *service.Config) { c.Replicas = -1 },
		"too many replicas":    func(c *service.Config) { c.Replicas = 6 },
		"certificate alone":    func(c *service.Config) { c.CertFile = "cert.pem" },
		"key alone":            func(c *service.Config) { c.KeyFile = "key.pem" },
	} {
		c := sound()
		spoil(&c)
		if err := c.Check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
