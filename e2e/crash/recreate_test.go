package crash

import (
	"context"
	"strings"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

// frozen is a store whose databases are all born in the same second: a database that
// is made again cannot be told from the one before by its instance_start_time, nor by
// its seqs.
type frozen struct{ millpond.Store }

func (f frozen) Open(ctx context.Context, name string) (millpond.Database, error) {
	db, err := f.Store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return frozenDatabase{db}, nil
}

type frozenDatabase struct{ millpond.Database }

func (f frozenDatabase) Info(ctx context.Context) (millpond.Info, error) {
	info, err := f.Database.Info(ctx)
	info.Instance = "1700000000"
	return info, err
}

func TestDatabaseThatIsMadeAgainIsNoticedAndTheReplicationStartsOver(t *testing.T) {
	t.Parallel()
	for _, second := range []string{"later", "within the second"} {
		for _, kind := range []string{"once", "continuously", "in a quiet feed"} {
			for _, side := range []string{"source", "target"} {
				t.Run(strings.Join([]string{side, kind, second}, ", "), func(t *testing.T) {
					t.Parallel()
					r := &recreation{kind: kind}
					store := func() millpond.Options {
						if second == "later" {
							return millpond.Options{}
						}
						return millpond.Options{Store: frozen{millpond.NewMemory()}}
					}
					r.pair = pair{startServer(t, store()), startServer(t, store()), "db"}
					r.replaced = r.source
					if side == "target" {
						r.replaced = r.target
					}
					r.run(t)
				})
			}
		}
	}
}

// recreation is a replication in whose middle one of its databases is replaced.
type recreation struct {
	pair
	kind     string
	replaced *server
}

func (r *recreation) run(t *testing.T) {
	r.source.create(t, r.name)
	r.target.create(t, r.name)
	r.fill(t, 1200, seed)
	half, release := r.target.hold(chaosproxy.BulkDocs, r.name, 15)
	defer release()
	args := r.args("--retries", "0")
	if r.kind != "once" {
		args = append(args, "--continuous")
	}
	client := program.Replicate(t, args...)
	await(t, "half of the writes", half)
	covered := 1
	if r.kind == "in a quiet feed" {
		release()
		covered = 1200
	}
	eventually(t, "a checkpoint that covers something", func() bool { return len(r.measure(t).covered) >= covered })

	r.replaced.recreate(t, r.name)
	if r.replaced == r.source {
		// Fewer documents than were read: nothing new for who goes on from there.
		r.fill(t, 300, seed+1)
	} else if r.kind == "in a quiet feed" {
		// A target is looked at when there is something to write.
		r.fill(t, 1, seed+1)
	}
	release()
	client.Until(func(e program.Event) bool {
		return strings.Contains(e.Reason, "has changed since last checkpoint") || strings.Contains(e.Reason, "is gone since it was written")
	})
	if r.kind == "once" {
		client.Completed()
	}
	if r.replaced == r.source {
		r.contained(t)
	} else {
		r.same(t)
	}
	client.Interrupt()
}

// contained waits until the target has all that the new source has. What the old one
// had stays at the target, as with any replication.
func (r *recreation) contained(t *testing.T) {
	t.Helper()
	wanted := r.source.leaves(t, r.name, nil)
	eventually(t, "the target has what the new source has", func() bool {
		there := r.target.leaves(t, r.name, nil)
		for l := range wanted {
			if !there[l] {
				return false
			}
		}
		return len(wanted) == 300
	})
}
