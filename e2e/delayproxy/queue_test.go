package delayproxy

import (
	"testing"
	"testing/synctest"
)

// The two ends of a queue in a bubble: Wait returns when both stand still.
func TestQueueMakesTheSenderWaitAtItsLimitInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10)
		pushed := 0
		go func() {
			for range 7 {
				q.push(chunk{data: make([]byte, 3)})
				pushed++
			}
			q.end()
		}()
		synctest.Wait()
		if pushed != 3 {
			t.Fatalf("%d chunks of 3 bytes were let in, limit 10", pushed)
		}
		if _, more := q.next(); !more || pushed != 3 {
			t.Errorf("a chunk that is only looked at made room: %d, %t", pushed, more)
		}
		q.drop()
		synctest.Wait()
		if pushed != 4 {
			t.Errorf("%d chunks after one was taken", pushed)
		}
		taken := 1
		for _, more := q.next(); more; _, more = q.next() {
			q.drop()
			taken++
		}
		if taken != 7 {
			t.Errorf("took %d of 7 chunks", taken)
		}
	})
}

func TestQueueTakesAChunkAboveItsLimitAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(10)
		second := false
		go func() {
			q.push(chunk{data: make([]byte, 50)})
			q.push(chunk{data: make([]byte, 50)})
			second = true
		}()
		synctest.Wait()
		if c, more := q.next(); !more || len(c.data) != 50 || second {
			t.Errorf("got %d bytes, %t, second %t", len(c.data), more, second)
		}
		q.drop()
		synctest.Wait()
		if !second {
			t.Error("the second waits for nothing")
		}
	})
}
