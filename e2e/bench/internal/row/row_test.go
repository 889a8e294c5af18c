package row

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace/e2e/bench/internal/contest"
	"millrace/e2e/bench/internal/corpus"
	"millrace/e2e/bench/internal/millrace"
	"millrace/e2e/bench/internal/procfs"
	"millrace/e2e/bench/internal/server"
	"millrace/e2e/bench/internal/usage"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// serversEnv names real servers, separated by commas.
const serversEnv = "MILLRACE_TEST_COUCHDB"

// pond returns the URL of a server of our own, without a replicator.
func pond(t *testing.T) string {
	t.Helper()
	listener, err := millpond.New(millpond.Options{AdminUser: "adm", AdminPassword: "pass"}).Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	})
	return strings.Replace(listener.URL, "http://", "http://adm:pass@", 1)
}

// existing returns the URLs of a source and a target that are real servers.
func existing(t *testing.T) (source, target string) {
	t.Helper()
	urls := strings.Split(os.Getenv(serversEnv), ",")
	if urls[0] == "" {
		t.Skip(serversEnv, "names no servers")
	}
	return urls[0], urls[len(urls)-1]
}

// small is a setting that takes moments.
func small(t *testing.T, source, target string) *Setting {
	t.Helper()
	s := &Setting{
		Source: open(t, source), Target: open(t, target), FS: procfs.New("/proc"), Log: slog.New(slog.DiscardHandler),
		MillraceAbsent: os.ErrNotExist,
		OwnerDocs:      5, OwnTargets: 9,
		Docs: 45, Size: 500, Changes: 3, Seed: 1, Batch: 20, InFlight: 2, Cores: 2,
		Attachments: 12, AttachmentSize: 700, Large: 3 << 20, RTT: time.Millisecond, FarInFlight: 3,
	}
	var err error
	if s.Usage, err = usage.Find(t.Context(), s.FS, s.Source.URL(), s.Target.URL()); err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, url string) *server.Server {
	t.Helper()
	s, err := server.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// run measures a row once and returns the contestants by name.
func run(t *testing.T, row contest.Row) map[string]contest.Standing {
	t.Helper()
	result, err := contest.Run(t.Context(), row, 1, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	standings := map[string]contest.Standing{}
	for _, s := range result.Standings {
		if len(s.Errors) > 0 {
			t.Errorf("%s: %v", s.Name, s.Errors)
		}
		standings[s.Name] = s
	}
	return standings
}

func TestEveryRowMeasuresTheLimitWithoutAnybodyElse(t *testing.T) {
	for _, row := range All(small(t, pond(t), pond(t))) {
		t.Run(row.Name(), func(t *testing.T) {
			standings := run(t, row)
			if f := standings[bareName].Figures[row.Columns()[0].Name]; f.Empty() || f.Median <= 0 {
				t.Errorf("the limit: %+v", standings[bareName])
			}
			for _, name := range []string{ownName, ourName} {
				if standings[name].Absent == "" {
					t.Errorf("%s is there: %+v", name, standings[name])
				}
			}
		})
	}
}

func TestEveryRowMeasuresTheReplicatorOfARealServer(t *testing.T) {
	source, target := existing(t)
	for _, row := range All(small(t, source, target)) {
		t.Run(row.Name(), func(t *testing.T) {
			standings := run(t, row)
			if _, measured := standings[ownName].Ratios[bareName]; !measured {
				t.Errorf("no ratio: %+v", standings[ownName])
			}
		})
	}
}

func TestEveryColumnIsNamedOnce(t *testing.T) {
	for _, row := range All(&Setting{}) {
		seen := map[string]bool{}
		for _, c := range row.Columns() {
			if seen[c.Name] || c.Unit == "" {
				t.Errorf("%s: column %q", row.Name(), c.Name)
			}
			seen[c.Name] = true
		}
	}
}

func TestEveryBaselineIsAContestant(t *testing.T) {
	setting := small(t, pond(t), pond(t))
	for _, row := range All(setting) {
		round, err := row.Prepare(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, c := range round.Contestants() {
			names[c.Name] = c.Doc != ""
		}
		for _, baseline := range row.Baselines() {
			if !names[baseline] {
				t.Errorf("%s: no contestant %q that says what it does", row.Name(), baseline)
			}
		}
		if err := round.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestIncompleteLoadHasNoTime(t *testing.T) {
	setting := small(t, pond(t), pond(t))
	err := setting.withTarget(t.Context(), func(target *server.Database) error {
		return complete(t.Context(), target, 1)
	})
	if err == nil || !strings.Contains(err.Error(), "0 documents instead of 1") {
		t.Errorf("got %v", err)
	}
}

func TestLoadWithoutItsAttachmentsHasNoTime(t *testing.T) {
	setting := small(t, pond(t), pond(t))
	with := &documents{attached: true, corpus: corpus.WithAttachments(1, 3, 100, 3, corpus.Binary())}
	other := &documents{attached: true, corpus: corpus.WithAttachments(1, 3, 101, 3, corpus.Binary())}
	err := setting.withPair(t.Context(), func(source, target *server.Database) error {
		if err := with.write(t.Context(), source, 1); err != nil {
			return err
		}
		if err := with.arrived(t.Context(), source, target); err == nil || !strings.Contains(err.Error(), "0 documents instead of 3") {
			t.Errorf("an empty target: %v", err)
		}
		if err := other.write(t.Context(), target, 1); err != nil {
			return err
		}
		if err := with.arrived(t.Context(), source, target); err == nil || !strings.Contains(err.Error(), "at the target and") {
			t.Errorf("other attachments: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// The programs as they are, over a distance that is hardly one.
func TestFarRowMeasuresTheProgramAndItsServices(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the programs")
	}
	dir, err := program.Dir()
	if err != nil {
		t.Fatal(err)
	}
	setting := small(t, pond(t), pond(t))
	setting.MillraceAbsent = nil
	if setting.Millrace, err = millrace.Find(filepath.Join(dir, program.Millrace), nil, setting.FS); err != nil {
		t.Fatal(err)
	}
	for _, row := range attachments(setting, "attachments", corpus.Binary(), "binary")[1:] {
		standings := run(t, row)
		for _, name := range []string{ourName, servicesName} {
			if f := standings[name].Figures[clientCPU.Name]; f.Empty() || f.Median <= 0 {
				t.Errorf("%s: %+v", name, standings[name])
			}
		}
	}
}

// The program as it is, with targets that are given in a document.
func TestRowsOfSeveralTargetsMeasureTheProgram(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the programs")
	}
	dir, err := program.Dir()
	if err != nil {
		t.Fatal(err)
	}
	setting := small(t, pond(t), pond(t))
	setting.MillraceAbsent = nil
	if setting.Millrace, err = millrace.Find(filepath.Join(dir, program.Millrace), nil, setting.FS); err != nil {
		t.Fatal(err)
	}
	for _, row := range []contest.Row{full(setting), selectors(setting)[0]} {
		standings := run(t, row)
		if f := standings[ourName].Figures[wall.Name]; f.Empty() || f.Median <= 0 {
			t.Errorf("%s: %+v", row.Name(), standings[ourName])
		}
	}
}

func TestThereAreNoMoreTargetsThanOwners(t *testing.T) {
	s := &Setting{Docs: 450, Size: 500, OwnerDocs: 50}
	for _, row := range selectors(s) {
		if want := "9 targets, each of which gets the 50 documents of an owner of 450 documents"; !strings.HasPrefix(row.Title(), want) {
			t.Errorf("%s: %s", row.Name(), row.Title())
		}
	}
	s = &Setting{Docs: 50000, Size: 1000, OwnerDocs: 50}
	if title := selectors(s)[1].Title(); !strings.HasPrefix(title, "200 targets,") || !strings.HasSuffix(title, "the goal is 8 s") {
		t.Error(title)
	}
}

func TestTargetThatLacksItsOwnersDocumentsHasNoTime(t *testing.T) {
	setting := small(t, pond(t), pond(t))
	round, err := selectors(setting)[0].Prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = round.(*fanRound).turn(t.Context(), func([]*server.Database) (contest.Measurement, time.Duration, error) {
		return contest.Measurement{}, time.Second, nil
	})
	if err == nil || !strings.Contains(err.Error(), "0 documents instead of 5") {
		t.Errorf("got %v", err)
	}
	if err := round.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
