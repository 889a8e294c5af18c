package replication

import (
	"crypto/md5"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/ejson"
)

// Target is a database to replicate into, on its own terms.
type Target struct {
	Endpoint
	Terms
}

// Job is one replication: a spec with one of its targets. Its terms are those of the target.
type Job struct {
	*Spec
	Target Endpoint
}

// Jobs returns a job for every target, in their order. Each is what a document with that
// `target` and its terms is, so that its id, too, is that document's.
func (s *Spec) Jobs() []Job {
	jobs := make([]Job, len(s.Targets))
	for i, t := range s.Targets {
		spec := *s
		spec.Targets, spec.Terms = s.Targets[i:i+1:i+1], t.Terms
		jobs[i] = Job{&spec, t.Endpoint}
	}
	return jobs
}

// targets reads target or targets, of which there must be one.
func (d *draft) targets(p Parser) error {
	v, one := d.raw["target"]
	list, several := d.raw["targets"]
	switch {
	case one && several:
		return refuse("targets", "`target` is mutually exclusive with `targets`")
	case several:
		return d.targetList(p, list)
	case !one:
		return refuse("target", "Missing replicator database")
	}
	e, err := p.parseEndpoint("target", v)
	if err != nil {
		return err
	}
	d.Targets = []Target{{d.placed(e, d.targetProxy, d.targetSite), d.Terms}}
	return nil
}

// targetList reads targets. The terms of the document have been read, and those of an entry are
// checked here.
func (d *draft) targetList(p Parser, v jsontext.Value) error {
	values, err := asArray("targets", v)
	if err != nil {
		return err
	}
	if len(values) == 0 {
		return mustBe("targets", "an array of at least one database")
	}
	// The document's selection is looked at once, and not for each target that has it.
	if err := d.Terms.check(""); err != nil {
		return err
	}
	inherited, err := d.sum()
	if err != nil {
		return err
	}
	d.Targets = make([]Target, len(values))
	jobs := make(map[[md5.Size]byte]int, len(values))
	for i, one := range values {
		place := fmt.Sprintf("targets[%d]", i)
		t, own, err := d.target(p, place, one)
		if err != nil {
			return err
		}
		selection := inherited
		if own {
			if selection, err = t.sum(); err != nil {
				return err
			}
		}
		sum := md5.Sum(ejson.Marshal(ejson.Tuple{t.identity, string(selection[:])}))
		if first, twice := jobs[sum]; twice {
			return SameTarget(first, i)
		}
		jobs[sum], d.Targets[i] = i, t
	}
	return nil
}

// SameTarget refuses targets that are the same replication: what one has written, the other's
// checkpoint would say of itself. The numbers are those of the targets, from 0.
func SameTarget(first, second int) error {
	return refuse(fmt.Sprintf("targets[%d]", second), "`targets[%d]` is the same replication as `targets[%d]`", second, first)
}

// sum is the same for two selections of which the same replication id is made, as far as is
// known without the code of filter functions.
func (s *Selection) sum() ([md5.Size]byte, error) {
	terms, err := s.filterIdentity(s.Filter)
	return md5.Sum(ejson.Marshal(terms)), err
}

// target reads an entry of targets: an endpoint, or an object with an endpoint as its member
// target, and terms, which replace those of the document. Own says whether it chooses
// documents itself.
func (d *draft) target(p Parser, place string, v jsontext.Value) (t Target, own bool, err error) {
	t.Terms = d.Terms
	at, terms := place, map[string]jsontext.Value{}
	if v.Kind() == '{' {
		members, err := ejson.Members(v)
		if err != nil {
			return t, false, mustBe(place, "a JSON object")
		}
		if i := slices.IndexFunc(members, func(m ejson.Member) bool { return m.Name == "target" }); i >= 0 {
			at, v = place+".target", members[i].Value
			if terms, err = entryTerms(place, slices.Delete(members, i, i+1)); err != nil {
				return t, false, err
			}
		} else if err := notTerms(place, members); err != nil {
			return t, false, err
		}
	}
	e, err := p.parseEndpoint(at, v)
	if err != nil {
		return t, false, err
	}
	t.Endpoint = d.placed(e, d.targetProxy, d.targetSite)
	own, err = t.replace(place+".", terms)
	return t, own, err
}

// replace makes an entry's terms the target's; own says whether what they choose is not what the
// document's choose.
func (t *Target) replace(place string, terms map[string]jsontext.Value) (own bool, err error) {
	if err := exclusive(place, terms); err != nil {
		return false, err
	}
	if len(chosen(terms)) > 0 {
		t.Selection = Selection{SkipDeletes: t.SkipDeletes}
	}
	for _, name := range slices.Sorted(maps.Keys(terms)) {
		if _, err := t.option(place, name, terms[name]); err != nil {
			return false, err
		}
		own = own || !strings.HasPrefix(name, "create_target")
	}
	if own {
		err = t.check(place)
	}
	return own, err
}

// entryTerms are the terms of an entry that has a target. An entry is ours, so that CouchDB's habit of
// ignoring what it does not know has no place in it: what is misspelt would replicate
// what nobody chose (invariant 8).
func entryTerms(place string, members []ejson.Member) (map[string]jsontext.Value, error) {
	terms := make(map[string]jsontext.Value, len(members))
	for _, m := range members {
		if !isTerm(m.Name) {
			return nil, refuse(place+"."+m.Name, "parameter `%s` has no member `%s` beside `target`", place, m.Name)
		}
		terms[m.Name] = m.Value
	}
	return terms, nil
}

// notTerms refuses terms in an endpoint, where they would be ignored.
func notTerms(place string, members []ejson.Member) error {
	for _, m := range members {
		if isTerm(m.Name) {
			return refuse(place+"."+m.Name, "parameter `%s` needs its database in `target`, to have `%s`", place, m.Name)
		}
	}
	return nil
}

func isTerm(name string) bool {
	switch name {
	case "create_target", "create_target_params", "doc_ids", "filter", "query_params", "selector", "skip_deletes":
		return true
	}
	return false
}
