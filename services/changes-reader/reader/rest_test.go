package reader

import (
	"slices"
	"testing"
	"time"

	"millrace/services/changes-reader/quiet"
)

func TestFeedThatIsWokenInVainHasToBeQuietForLonger(t *testing.T) {
	r := &rest{seat: quiet.New(quiet.Options{}).Seat(), least: 10 * time.Minute, after: 10 * time.Minute}
	var after []time.Duration
	for range 5 {
		r.lieDown()
		after = append(after, r.after/time.Minute)
		r.awoken = true
	}
	r.stir()
	r.lieDown()
	after = append(after, r.after/time.Minute)
	if want := []time.Duration{10, 20, 40, 60, 60, 10}; !slices.Equal(after, want) {
		t.Errorf("quiet for %d minutes, want %d", after, want)
	}
}
