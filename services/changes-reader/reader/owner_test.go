package reader_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/broker"
	"millrace/pkg/endpoint"
	"millrace/pkg/millpond"
	"millrace/pkg/service"
	"millrace/pkg/stage"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/changes-reader/reader"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

const feedID = "thefeed"

// open makes a live feed of the source for one job.
func open(t *testing.T, p *pipelinetest.Pipeline, source *databasetest.Database, change func(*millracev1.Feed)) *millracev1.Feed {
	t.Helper()
	ref, err := p.Env().Endpoints(service.DefaultSite).Put(t.Context(), endpoint.Endpoint{URL: source.URL})
	if err != nil {
		t.Fatal(err)
	}
	f := &millracev1.Feed{
		Id: feedID, Site: service.DefaultSite, Source: ref, Live: true, Since: []byte("0"), Style: "all_docs", BatchRows: 10,
		Roster: []*millracev1.RosterEntry{{Job: "job", Run: 4, TargetSite: service.DefaultSite}},
	}
	if change != nil {
		change(f)
	}
	if _, err := p.Feeds().Write(t.Context(), f, 0); err != nil {
		t.Fatal(err)
	}
	return f
}

// changes are the batches of the feed, decoded.
func changes(t *testing.T, p *pipelinetest.Pipeline, atLeast int) []*millracev1.ChangesBatch {
	t.Helper()
	var all []*millracev1.ChangesBatch
	for _, e := range p.AwaitMessages(p.Broker().Streams().Changes, p.Broker().Subjects().Changes(feedID), atLeast) {
		b := &millracev1.ChangesBatch{}
		p.Decode(e, b)
		if id := e.Header.Get("Nats-Msg-Id"); !strings.HasSuffix(id, fmt.Sprintf(".%d.%d", b.Epoch, b.Ordinal)) {
			t.Errorf("message id %q does not tell epoch %d, ordinal %d", id, b.Epoch, b.Ordinal)
		}
		all = append(all, b)
	}
	return all
}

// dense checks that ordinals go up by one, epochs never down, and that all ids are there once.
func dense(t *testing.T, all []*millracev1.ChangesBatch, ids int) {
	t.Helper()
	seen, epoch := map[string]bool{}, uint64(0)
	for i, b := range all {
		if b.Ordinal != uint64(i+1) || b.Epoch < epoch {
			t.Fatalf("batch %d has ordinal %d in epoch %d after %d", i+1, b.Ordinal, b.Epoch, epoch)
		}
		epoch = b.Epoch
		for _, r := range b.Rows {
			seen[r.Id] = true
		}
	}
	if len(seen) != ids {
		t.Errorf("%d documents in the log, want %d", len(seen), ids)
	}
}

func TestSecondReaderGoesOnWhereTheFirstWasKilled(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	p := pipelinetest.Start(t, pipelinetest.Options{})
	first := p.Run(reader.Name)
	source.Fill(t, 0, 25)
	open(t, p, source, nil)
	before := changes(t, p, 3)
	p.Run(reader.Name)
	source.Fill(t, 25, 1)
	changes(t, p, 4)
	first.Kill()
	source.Fill(t, 26, 15)
	all := changes(t, p, 6)
	dense(t, all, 41)
	if last, old := all[len(all)-1], before[len(before)-1]; last.Epoch <= old.Epoch {
		t.Errorf("epoch %d follows %d", last.Epoch, old.Epoch)
	}
}

// A reader that was stopped for longer than its lease wakes and goes on appending.
func TestOldOwnersBatchesAreRefused(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 12)
	p := pipelinetest.Start(t, pipelinetest.Options{})
	b := p.Broker()
	lease, err := b.AcquireLease(t.Context(), "feed."+feedID, "the old owner", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	subjects := b.Subjects()
	old, err := b.NewAppender(t.Context(), subjects.Changes(feedID), subjects.Owner(feedID), lease.Revision(), broker.AppenderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close(t.Context()) //nolint:errcheck // it is fenced
	append1 := func(ordinal uint64) error {
		batch := &millracev1.ChangesBatch{Feed: feedID, Epoch: lease.Revision(), Ordinal: ordinal, KnownSeq: []byte(`"0"`)}
		payload, err := proto.Marshal(batch)
		if err != nil {
			t.Fatal(err)
		}
		f, err := old.Append(t.Context(), ordinal, payload)
		if err != nil {
			return err
		}
		_, err = f.Wait(t.Context())
		return err
	}
	if err := append1(1); err != nil {
		t.Fatal(err)
	}
	p.Run(reader.Name)
	open(t, p, source, nil)
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := changes(t, p, 3)
	if err := append1(2); !errors.Is(err, broker.ErrFenced) {
		t.Errorf("the old owner's batch: %v", err)
	}
	dense(t, all, 12)
}

// What a checkpoint covers is purged from the log of routed batches, by which the reader
// measures how far it is ahead.
func TestReaderGoesOnWhenWhatWasRoutedIsPurged(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 50)
	p := pipelinetest.Start(t, pipelinetest.Options{Services: []string{reader.Name}})
	open(t, p, source, func(f *millracev1.Feed) { f.Window = 2 })
	if n := len(changes(t, p, 2)); n != 2 {
		t.Fatalf("%d batches with a window of 2", n)
	}
	err := p.Jobs().SetProgress(t.Context(), "job", &millracev1.Progress{Run: 4, Feed: feedID, Ordinal: 2})
	if err != nil {
		t.Fatal(err)
	}
	changes(t, p, 4)
	err = p.Jobs().SetProgress(t.Context(), "job", &millracev1.Progress{Run: 4, Feed: feedID, Ordinal: 4})
	if err != nil {
		t.Fatal(err)
	}
	dense(t, changes(t, p, 5), 50)
}

// With its log gone, nobody knows the feed's next ordinal: a second batch 1 would be taken
// for the one that is done (invariant 1).
func TestReaderOfALogThatIsGoneSendsTheJobsBackToTheirCheckpoints(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 5)
	p := pipelinetest.Start(t, pipelinetest.Options{})
	err := p.Jobs().SetProgress(t.Context(), "job", &millracev1.Progress{Run: 4, Feed: feedID, Ordinal: 9})
	if err != nil {
		t.Fatal(err)
	}
	open(t, p, source, nil)
	p.Run(reader.Name)
	events := p.AwaitMessages(p.Broker().Streams().Events, p.Broker().Subjects().Events("job"), 1)
	e := &millracev1.Event{}
	p.Decode(events[0], e)
	if e.Class != millracev1.Event_CLASS_FEED_LOST || e.Position.Run != 4 || !strings.Contains(e.Reason, stage.ErrFeedLost.Error()) {
		t.Errorf("reported %v", e)
	}
	if all := p.Messages(p.Broker().Streams().Changes, p.Broker().Subjects().Changes(feedID)); len(all) != 0 {
		t.Errorf("%d batches were read all the same", len(all))
	}
}

func TestUnreadableSourceIsReportedToEveryJobAndReadWhenItIsBack(t *testing.T) {
	t.Parallel()
	source := databasetest.New(t, millpond.Options{})
	source.Fill(t, 0, 5)
	heal := source.Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_changes"), Status: 500, Body: `{"error":"x"}`})
	p := pipelinetest.Start(t, pipelinetest.Options{Services: []string{reader.Name}})
	open(t, p, source, func(f *millracev1.Feed) {
		f.Source.Version = 0
		f.Roster = append(f.Roster, &millracev1.RosterEntry{Job: "other", Run: 1})
	})
	for _, job := range []string{"job", "other"} {
		p.AwaitMessages(p.Broker().Streams().Events, p.Broker().Subjects().Events(job), 1)
	}
	heal()
	dense(t, changes(t, p, 1), 5)
}
