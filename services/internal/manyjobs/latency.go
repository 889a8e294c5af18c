package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

// single writes one document at one source after the other, and prints how long each took to its target:
// for jobs that have a source each.
func (o options) single(ctx context.Context, address string) error {
	var took, awake []time.Duration
	for i := range min(o.latency, o.sources) {
		began := time.Now()
		doc := fmt.Sprintf("/latency-%d", written)
		if err := call(ctx, http.MethodPut, address+"/"+source(i)+doc, "{}", nil); err != nil {
			return err
		}
		for call(ctx, http.MethodGet, address+"/"+target(i)+doc, "", nil) != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(began))
		if err := call(ctx, http.MethodPut, address+"/"+source(i)+doc+"-after", "{}", nil); err != nil {
			return err
		}
		began = time.Now()
		for call(ctx, http.MethodGet, address+"/"+target(i)+doc+"-after", "", nil) != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			time.Sleep(time.Millisecond)
		}
		awake = append(awake, time.Since(began))
	}
	if len(took) > 0 {
		fmt.Printf("a change at a quiet source is at its target after %v (median of %d), the next one after %v\n", median(took), len(took), median(awake))
	}
	return nil
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2].Round(time.Millisecond)
}

// sockets is how many this process has open.
func sockets() int {
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	n := 0
	for _, f := range files {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && strings.HasPrefix(to, "socket:") {
			n++
		}
	}
	return n
}
