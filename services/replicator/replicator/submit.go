package replicator

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"millrace/pkg/broker"
	"millrace/pkg/control"
	"millrace/pkg/directory"
	"millrace/pkg/endpoint"
	"millrace/pkg/filter"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

// DefaultSite is the site of endpoints that name none.
const DefaultSite = "default"

// Registry makes jobs of replications. What a job may not carry, its credentials, it
// puts where the services of the endpoint's site find them.
type Registry struct {
	jobs *directory.Jobs
	// endpoints gives the store of a site.
	endpoints func(site string) *endpoint.Store
	// control reads filter functions, which are part of replication ids.
	control *control.Client
	uuid    string
}

// NewRegistry returns a registry. The uuid is the server's: part of every
// replication id, so that it has to stay the same for checkpoints to be found.
func NewRegistry(jobs *directory.Jobs, endpoints func(site string) *endpoint.Store, control *control.Client, uuid string) *Registry {
	return &Registry{jobs: jobs, endpoints: endpoints, control: control, uuid: uuid}
}

// UnsupportedError says that a replication asks for something that is not there.
type UnsupportedError struct{ Field string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("`%s` is not supported by this version", e.Field)
}

// Submit makes the replication a job, and begins it. A job of the same id that is at
// its end, or paused, begins anew, with a later start_time; one that is not is left as it is, and
// Submit returns it. Errors about the replication are *[replication.FieldError] and *[UnsupportedError].
func (r *Registry) Submit(ctx context.Context, spec replication.Job) (*millracev1.Job, error) {
	jobs, err := r.submit(ctx, []replication.Job{spec})
	if err != nil {
		return nil, err
	}
	return jobs[0], nil
}

// SubmitAll makes the replication a job for each of its targets, as Submit does, and returns them in the
// order of the targets. None begins before all are there: they read the source
// together. What is wrong with one of them is found before there is any.
func (r *Registry) SubmitAll(ctx context.Context, spec *replication.Spec) ([]*millracev1.Job, error) {
	return r.submit(ctx, spec.Jobs())
}

// settled is what of a job the replication decides.
func settled(j *millracev1.Job) *millracev1.Job {
	return &millracev1.Job{
		Id: j.Id, ReplicationId: j.ReplicationId, Source: j.Source, Target: j.Target,
		SourceSite: j.SourceSite, TargetSite: j.TargetSite, Continuous: j.Continuous, Filter: j.Filter,
		WinningRevsOnly: j.WinningRevsOnly, SinceSeq: j.SinceSeq, CreateTarget: j.CreateTarget,
		CreateTargetParams: j.CreateTargetParams, Tuning: j.Tuning,
	}
}

// SetAside pauses every job but those of the replications, and ends their runs, where no replicator is
// running: what else stands in a data directory that is for these replications was interrupted, and
// a continuous one would keep the lease that a one-shot one of the same databases waits for.
func (r *Registry) SetAside(ctx context.Context, but []replication.Job) error {
	jobs, err := r.jobs.List(ctx)
	if err != nil {
		return err
	}
	wanted := map[string]map[string]bool{} // by the code of the function, of which the id is made
	for _, j := range jobs {
		// The function may be another by now, but then so is the replication.
		code := j.Value.Filter.GetCode()
		if wanted[code] == nil {
			if wanted[code], err = r.tokens(but, code); err != nil {
				return err
			}
		}
		if wanted[code][j.ID] || idle(j.Value) {
			continue
		}
		j.Value.State, j.Value.Active = string(replication.Paused), false
		if _, err := r.jobs.Write(ctx, j.Value, j.Revision); err != nil {
			return fmt.Errorf("set job %s aside: %w", j.Value.ReplicationId, err)
		}
	}
	return nil
}

// tokens are the jobs' ids.
func (r *Registry) tokens(specs []replication.Job, code string) (map[string]bool, error) {
	all := make(map[string]bool, len(specs))
	for _, spec := range specs {
		id, err := spec.ID(r.uuid, code)
		if err != nil {
			return nil, err
		}
		all[broker.Token(id.String())] = true
	}
	return all, nil
}

// Cancel removes the job; its run writes a last checkpoint and ends.
func (r *Registry) Cancel(ctx context.Context, id string) error { return r.jobs.Remove(ctx, id) }

// describe makes a job of the replication, with the source of its filter function.
func (r *Registry) describe(spec replication.Job, code string) (*millracev1.Job, error) {
	id, err := spec.ID(r.uuid, code)
	if err != nil {
		return nil, err
	}
	params, err := createParams(spec.CreateTargetParams)
	if err != nil {
		return nil, err
	}
	state := replication.Initializing
	if spec.Paused {
		state = replication.Paused
	}
	now := time.Now().UnixNano()
	tuning, notes := tuningOf(spec.Tuning)
	return &millracev1.Job{
		Id: broker.Token(id.String()), ReplicationId: id.String(),
		SourceUrl: spec.Source.URL, TargetUrl: spec.Target.URL,
		SourceSite: siteOf(spec.Source), TargetSite: siteOf(spec.Target),
		Continuous: spec.Continuous, Filter: filter.Wanted(&spec.Selection, code), WinningRevsOnly: spec.WinningRevsOnly,
		SinceSeq: spec.SinceSeq, CreateTarget: spec.CreateTarget, CreateTargetParams: params,
		Tuning: tuning,
		State:  string(state), StartTime: now, LastUpdated: now,
		Notes: slices.Concat(notes, withoutEffect(spec.Ignored), unverified(spec)),
	}, nil
}

// unverified tells operators of a database that may be anybody's.
func unverified(spec replication.Job) (notes []string) {
	for side, e := range map[string]replication.Endpoint{"source": spec.Source, "target": spec.Target} {
		if e.TLS.InsecureSkipVerify {
			notes = append(notes, fmt.Sprintf("the certificate of the %s is not verified: whoever sits between can read the credentials and change the documents", side))
		}
	}
	slices.Sort(notes)
	return notes
}

func siteOf(e replication.Endpoint) string {
	if e.Site == "" {
		return DefaultSite
	}
	return e.Site
}

func createParams(v url.Values) ([]byte, error) {
	if len(v) == 0 {
		return nil, nil
	}
	params := map[string]string{}
	for name := range v {
		params[name] = v.Get(name)
	}
	return json.Marshal(params)
}

// store keeps an endpoint where the services of its site find it.
func (r *Registry) store(ctx context.Context, site string, e replication.Endpoint, spec *replication.Spec) (*millracev1.EndpointRef, error) {
	return r.endpoints(site).Put(ctx, endpoint.Of(e, spec))
}

// PairID names what the replications' base ids are made of but for the server's uuid: the
// same for one-shot and continuous replications of the same databases.
func PairID(specs []replication.Job) string {
	var bases []string
	for _, spec := range specs {
		id, err := spec.ID("", "")
		if err != nil {
			return "invalid"
		}
		bases = append(bases, id.Base)
	}
	if len(bases) == 1 {
		return bases[0]
	}
	slices.Sort(bases)
	return broker.Token(strings.Join(bases, "\n"))
}
