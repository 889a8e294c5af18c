package compare_test

import (
	"testing"
	"time"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/compare"
	"millrace/e2e/dataset"
	"millrace/e2e/peer"
)

// What is written and read through the proxy is what is there: whatever a test
// with trouble in the proxy finds, the proxy's own hands were clean.
func TestAwkwardDataPassesTheProxyUnchanged(t *testing.T) {
	for _, s := range peer.All(t) {
		t.Run(s.Name, func(t *testing.T) {
			proxy, err := chaosproxy.Start(s.URL, seed)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := proxy.Close(); err != nil {
					t.Error(err)
				}
			}()
			proxy.SetRTT(time.Millisecond)
			db := s.NewDB(t)
			through, err := proxy.Through(db)
			if err != nil {
				t.Fatal(err)
			}
			if err := dataset.Awkward(t.Context(), through, s.Capabilities, seed); err != nil {
				t.Fatal(err)
			}
			compare.Require(t, through, db, compare.Options{})
			if n := proxy.Counts()[chaosproxy.Changes]; n.Requests != 1 || n.Forwarded != 1 {
				t.Errorf("the proxy counted %+v readings of the changes", n)
			}
		})
	}
}
