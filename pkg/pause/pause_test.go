package pause_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"millrace/pkg/pause"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestForWaitsThatLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if err := pause.For(t.Context(), time.Hour); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != time.Hour {
			t.Errorf("waited %s", waited)
		}
	})
}

func TestForEndsWithItsContextAndSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("why")
		ctx, cancel := context.WithCancelCause(t.Context())
		began := time.Now()
		time.AfterFunc(time.Minute, func() { cancel(why) })
		for _, d := range []time.Duration{time.Hour, 0, -time.Second} {
			if err := pause.For(ctx, d); d > 0 && err != why || d <= 0 && err != why {
				t.Errorf("%s: %v", d, err)
			}
		}
		if waited := time.Since(began); waited != time.Minute {
			t.Errorf("waited %s", waited)
		}
	})
}
