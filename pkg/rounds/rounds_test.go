package rounds_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"millrace/pkg/rounds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Who comes while a round works takes part in the next, with all others who do.
func TestThoseWhoComeWhileARoundWorksShareTheNext(t *testing.T) {
	t.Parallel()
	var r rounds.Rounds[string, int, []int]
	began, goOn := make(chan struct{}), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		got, err := r.Do(t.Context(), "k", 0, func(_ context.Context, members []int) ([]int, error) {
			close(began)
			<-goOn
			return members, nil
		})
		if err != nil || !slices.Equal(got, []int{0}) {
			t.Errorf("the first: %v, %v", got, err)
		}
	})
	<-began
	const n = 20
	var works, waiting atomic.Int32
	for i := range n {
		group.Go(func() {
			waiting.Add(1)
			got, err := r.Do(t.Context(), "k", i+1, func(_ context.Context, members []int) ([]int, error) {
				works.Add(1)
				return members, nil
			})
			if err != nil || !slices.Contains(got, i+1) {
				t.Errorf("%d: %v, %v", i+1, got, err)
			}
		})
	}
	for waiting.Load() < n { // they are about to wait
		runtime.Gosched()
	}
	if _, err := r.Do(t.Context(), "other", 0, func(context.Context, []int) ([]int, error) { return nil, nil }); err != nil {
		t.Error(err) // and another key's round waits for nobody
	}
	close(goOn)
	group.Wait()
	if got := works.Load(); got > n/2 {
		t.Errorf("%d rounds for %d callers", got, n)
	}
}

// An outcome is never of work that had begun before the caller came.
func TestNobodyGetsWhatBeganBeforeHeCame(t *testing.T) {
	t.Parallel()
	var r rounds.Rounds[string, int64, int64]
	var clock atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 500 {
				came := clock.Add(1)
				began, err := r.Do(t.Context(), "k", came, func(_ context.Context, members []int64) (int64, error) {
					at := clock.Add(1)
					for _, m := range members {
						if m > at {
							t.Errorf("one who came at %d has a share in what began at %d", m, at)
						}
					}
					return at, nil
				})
				if err != nil || began < came {
					t.Errorf("came at %d, got what began at %d, %v", came, began, err)
				}
			}
		})
	}
	group.Wait()
}

func TestWhoGivesUpIsFollowedByAnother(t *testing.T) {
	t.Parallel()
	var r rounds.Rounds[string, int, int]
	first, giveUp := context.WithCancel(t.Context())
	began := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		_, err := r.Do(first, "k", 0, func(ctx context.Context, _ []int) (int, error) {
			close(began)
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the first: %v", err)
		}
	})
	<-began
	second, stop := context.WithCancel(t.Context())
	for i := range 3 {
		ctx := t.Context()
		if i == 0 {
			ctx = second
		}
		group.Go(func() {
			got, err := r.Do(ctx, "k", 1, func(ctx context.Context, _ []int) (int, error) { return 7, ctx.Err() })
			if i == 0 && err != nil {
				return // the one who may have been told to give up
			}
			if got != 7 || err != nil {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
	stop()
	giveUp()
	group.Wait()
}

func TestFailureIsThatOfAllWhoTookPart(t *testing.T) {
	t.Parallel()
	var r rounds.Rounds[string, int, int]
	refused := errors.New("refused")
	if _, err := r.Do(t.Context(), "k", 0, func(context.Context, []int) (int, error) { return 0, refused }); !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
}
