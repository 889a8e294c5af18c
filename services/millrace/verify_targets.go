package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"millrace/pkg/couch"
	"millrace/pkg/filter"
	"millrace/pkg/queryserver"
	"millrace/pkg/replication"
	"millrace/pkg/verify"
)

// chooses says that not everything of the source belongs into the targets.
func chooses(spec *replication.Spec) bool {
	for _, t := range spec.Targets {
		if filter.Wanted(&t.Selection, "") != nil {
			return true
		}
	}
	return spec.WinningRevsOnly
}

// compareTargets compares a source with targets of it, for each of which its filter says what is to be
// there.
func compareTargets(ctx context.Context, spec *replication.Spec, source *couch.DB, dbs []*couch.DB, o verify.Options) ([]verify.Outcome, error) {
	functions := filter.NewFunctions(queryserver.Options{})
	defer functions.Close()
	outcomes := make([]verify.Outcome, len(dbs))
	filters := map[string]*filter.Filter{} // by what is wanted: targets that want the same share it
	var targets []verify.Target
	var places []int // of the targets in the outcomes
	for i, job := range spec.Jobs() {
		wanted, err := proto.MarshalOptions{Deterministic: true}.Marshal(filter.Wanted(&job.Selection, ""))
		if err != nil {
			return nil, err
		}
		f := filters[string(wanted)]
		if f == nil {
			if f, err = functions.Read(ctx, job, source); err != nil {
				outcomes[i].Err = err
				continue
			}
			filters[string(wanted)] = f
		}
		targets, places = append(targets, verify.Target{DB: dbs[i], Filter: f}), append(places, i)
	}
	if len(targets) == 0 {
		return outcomes, nil
	}
	compared, err := verify.CompareTargets(ctx, source, targets, o)
	for i, outcome := range compared {
		outcomes[places[i]] = outcome
	}
	return outcomes, err
}

// several prints what was found of several targets: of each where they are few, else of those that are
// not what they should be.
func (v *verifyFlags) several(out io.Writer, targets []*couch.DB, outcomes []verify.Outcome) error {
	var text bytes.Buffer
	encode := json.NewEncoder(&text)
	same, differ, failed, left := 0, 0, 0, int64(0)
	for i, o := range outcomes {
		name := targets[i].String()
		switch {
		case o.Err != nil:
			failed++
			if v.json {
				_ = encode.Encode(map[string]any{"target": name, "error": o.Err.Error()}) // it can be encoded
			} else {
				fmt.Fprintf(&text, "%s: not verified: %v\n", name, o.Err)
			}
			continue
		case o.Report.Same:
			same++
		default:
			differ++
		}
		left += o.Report.B.LeftDocuments
		switch {
		case v.json:
			if err := encode.Encode(o.Report); err != nil {
				return failedError(err)
			}
		case !o.Report.Same, len(outcomes) <= fewTargets:
			fmt.Fprintf(&text, "%s\n\n", o.Report)
		}
	}
	if v.json {
		_ = encode.Encode(map[string]any{"type": "total", "targets": len(outcomes), "same": same, "differ": differ, "failed": failed, "left_documents": left})
	} else {
		fmt.Fprintf(&text, "%d targets: %d hold what they should, %d differ, %d could not be verified\n", len(outcomes), same, differ, failed)
		if left > 0 {
			fmt.Fprintf(&text, "%d documents have left a filter, and stay as they were\n", left)
		}
	}
	if !v.quiet {
		if _, err := out.Write(text.Bytes()); err != nil {
			return failedError(err)
		}
	}
	switch {
	case failed > 0:
		return failedError(fmt.Errorf("%d of %d targets could not be verified", failed, len(outcomes)))
	case differ > 0:
		return &exitError{code: exitDifferent}
	}
	return nil
}
