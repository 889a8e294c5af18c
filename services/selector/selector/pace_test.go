package selector

import (
	"testing"
	"time"
)

func TestJobThatIsLateIsNotWaitedForAtEveryBatch(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPace(func() time.Time { return now })
	if !p.keeps("a") {
		t.Fatal("a job of which nothing is known is not waited for")
	}
	pause := strideMin
	for range 10 {
		p.late("a")
		p.late("a") // another batch that had waited as well
		now = now.Add(pause - 1)
		if p.keeps("a") || !p.keeps("b") {
			t.Fatalf("after %s: a %v, b %v", pause-1, p.keeps("a"), p.keeps("b"))
		}
		if now = now.Add(1); !p.keeps("a") {
			t.Fatalf("a is not waited for after %s", pause)
		}
		pause = min(2*pause, strideMax)
	}
	p.prompt("a")
	p.late("a")
	if now = now.Add(strideMin); !p.keeps("a") {
		t.Error("a job that kept pace for a while is as late as before")
	}
}

func TestJobsThatWereLateLongAgoAreForgotten(t *testing.T) {
	now := time.Unix(0, 0)
	p := newPace(func() time.Time { return now })
	for _, job := range []string{"a", "b", "c"} {
		p.late(job)
	}
	now = now.Add(3 * strideMax)
	p.late("d")
	if len(p.slow) != 1 {
		t.Errorf("%d jobs are remembered", len(p.slow))
	}
}
