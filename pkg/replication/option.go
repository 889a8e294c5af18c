package replication

import (
	"math/big"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/ejson"
)

// option stores one field of the document that is neither an endpoint nor a
// proxy. Names that are not known are ignored, as in CouchDB.
func (d *draft) option(name string, v jsontext.Value) (err error) {
	switch name {
	case "_id":
		d.DocID, err = asString(v)
		if err != nil {
			return mustBe(name, "a string")
		}
		return nil
	case "cancel":
		return asBool(name, v, &d.Cancel)
	case "_local_id", "replication_id", "id":
		return d.cancelID(name, v)
	case "continuous":
		return asBool(name, v, &d.Continuous)
	case "winning_revs_only":
		return asBool(name, v, &d.WinningRevsOnly)
	case "since_seq":
		return d.since(v)
	case "socket_options", "ibrowse_options":
		return d.ignore(name, v)
	case "owner":
		return asNullableString(name, v, &d.Owner)
	case "user_ctx":
		d.UserCtx, err = userCtx(name, v)
		return err
	}
	if known, err := d.Terms.option("", name, v); known {
		return err
	}
	if known, err := d.addition(name, v); known {
		return err
	}
	return d.tuning(name, v)
}

// addition are the options that CouchDB does not have.
func (d *draft) addition(name string, v jsontext.Value) (known bool, err error) {
	switch name {
	case "source_site":
		d.sourceSite, err = siteName(name, v)
	case "target_site":
		d.targetSite, err = siteName(name, v)
	case "paused":
		err = asBool(name, v, &d.Paused)
	default:
		return false, nil
	}
	return true, err
}

func (d *draft) tuning(name string, v jsontext.Value) error {
	t := &d.Tuning
	switch name {
	case "use_checkpoints":
		return asBool(name, v, &t.UseCheckpoints)
	case "checkpoint_interval":
		return milliseconds(name, v, &t.CheckpointInterval)
	case "use_bulk_get":
		return asBool(name, v, &t.UseBulkGet)
	case "worker_processes":
		return asInt(name, v, 1, &t.WorkerProcesses)
	case "worker_batch_size":
		return asInt(name, v, 1, &t.WorkerBatchSize)
	case "http_connections":
		return asInt(name, v, 1, &t.HTTPConnections)
	case "connection_timeout":
		return milliseconds(name, v, &t.ConnectionTimeout)
	case "retries_per_request":
		return asInt(name, v, 0, &t.RetriesPerRequest)
	}
	return nil
}

// cancelID: of several names for the id, the first in the document counts.
func (d *draft) cancelID(name string, v jsontext.Value) error {
	id, err := asString(v)
	if err != nil {
		return mustBe(name, "a string")
	}
	if d.CancelID == (ID{}) {
		d.CancelID = ParseID(id)
	}
	return nil
}

func filterName(field string, v jsontext.Value) (string, error) {
	name, err := asString(v)
	if err != nil {
		return "", mustBe(field, "a string")
	}
	if !strings.HasPrefix(name, "_") && (!strings.Contains(name, "/") || strings.Contains(name, "\n")) {
		return "", refuse(field, "Invalid filter. Must match `ddocname/filtername`.")
	}
	return name, nil
}

// since takes what a server may have given out as a sequence. CouchDB takes
// anything, and then asks the source for changes since {}.
func (d *draft) since(v jsontext.Value) error {
	if v.Kind() == 'n' { // null means absent
		return nil
	}
	parsed, err := ejson.Parse(v)
	if err != nil || !isSeq(parsed) {
		return mustBe("since_seq", "a sequence: a string, an integer or an array")
	}
	d.SinceSeq = v
	return nil
}

// isSeq tells what is given out as a sequence: strings, numbers by servers of old and
// PouchDB, and [number, string] by BigCouch.
func isSeq(v any) bool {
	switch t := v.(type) {
	case string:
		return t != ""
	case *big.Int:
		return t.Sign() >= 0
	case ejson.Array:
		return len(t) > 0
	}
	return false
}

func (d *draft) ignore(name string, v jsontext.Value) error {
	if _, err := asString(v); err != nil {
		return mustBe(name, "a string")
	}
	d.Ignored = append(d.Ignored, name)
	return nil
}

// createParams reads the parameters of the PUT that makes the target.
func createParams(name string, v jsontext.Value) (url.Values, error) {
	members, err := ejson.Members(v)
	if err != nil {
		return nil, mustBe(name, "a JSON object")
	}
	params := make(url.Values)
	for _, m := range members {
		switch m.Value.Kind() {
		case '"':
			s, err := asString(m.Value)
			if err != nil {
				return nil, mustBe(name+"."+m.Name, "a string, a number or a boolean")
			}
			params.Set(m.Name, s)
		case '0', 't', 'f':
			params.Set(m.Name, string(m.Value))
		default:
			return nil, mustBe(name+"."+m.Name, "a string, a number or a boolean")
		}
	}
	return params, nil
}

func userCtx(name string, v jsontext.Value) (*UserCtx, error) {
	members, err := ejson.Members(v)
	if err != nil {
		return nil, mustBe(name, "a JSON object")
	}
	ctx := new(UserCtx)
	for _, m := range members {
		switch m.Name {
		case "name":
			err = asNullableString(name+".name", m.Value, &ctx.Name)
		case "roles":
			ctx.Roles, err = asStrings(name+".roles", m.Value)
		}
		if err != nil {
			return nil, err
		}
	}
	return ctx, nil
}

func asNullableString(name string, v jsontext.Value, dst *string) error {
	if v.Kind() == 'n' {
		return nil
	}
	s, err := asString(v)
	if err != nil {
		return mustBe(name, "a string")
	}
	*dst = s
	return nil
}
