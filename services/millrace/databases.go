package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// databaseFlags are how a source and its targets are reached.
type databaseFlags struct {
	endpoints [2]endpointFlags // of source and target
	netrc     string
}

func (d *databaseFlags) addNetrc(f *pflag.FlagSet) {
	f.StringVar(&d.netrc, "netrc", "", "netrc file (default $NETRC or ~/.netrc)")
}

// databases puts those of the command line into the document, or what the flags say of them into
// the document's.
func (d *databaseFlags) databases(doc map[string]any, args []string, inline bool) (err error) {
	source, targets := "", []string(nil)
	if len(args) > 0 {
		source, targets = args[0], args[1:]
		delete(doc, "target")
		delete(doc, "targets")
	}
	if there, ok := doc["source"]; ok || source != "" {
		if doc["source"], err = d.endpoint(0, there, source, inline); err != nil {
			return err
		}
	}
	if len(targets) == 1 {
		doc["target"], err = d.endpoint(1, nil, targets[0], inline)
		return err
	}
	if len(targets) > 1 {
		entries := make([]any, len(targets))
		for i, target := range targets {
			if entries[i], err = d.endpoint(1, nil, target, inline); err != nil {
				return err
			}
		}
		doc["targets"] = entries
		return nil
	}
	if there, ok := doc["target"]; ok {
		if doc["target"], err = d.endpoint(1, there, "", inline); err != nil {
			return err
		}
	}
	return d.listed(doc, inline)
}

// listed puts what the flags say of a target into each of the document's targets.
func (d *databaseFlags) listed(doc map[string]any, inline bool) (err error) {
	list, ok := doc["targets"].(json.RawMessage)
	var entries []json.RawMessage
	if !ok || json.Unmarshal(list, &entries) != nil {
		return nil // the parser says what is wrong
	}
	changed := make([]any, len(entries))
	for i, entry := range entries {
		if changed[i], err = d.entry(entry, inline); err != nil {
			return err
		}
	}
	doc["targets"] = changed
	return nil
}

// entry is an endpoint, or an object with an endpoint as target.
func (d *databaseFlags) entry(entry json.RawMessage, inline bool) (any, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal(entry, &members) == nil && members["target"] != nil {
		changed, err := d.endpoint(1, members["target"], "", inline)
		if err != nil {
			return nil, err
		}
		if members["target"], err = json.Marshal(changed); err != nil {
			return nil, err
		}
		return members, nil
	}
	return d.endpoint(1, entry, "", inline)
}

// endpoint is the database of the argument, or the document's where that is empty, as the flags of a
// side want it.
func (d *databaseFlags) endpoint(side int, there any, arg string, inline bool) (map[string]any, error) {
	o, err := d.endpoints[side].object(there, arg, d.netrc, inline)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.ToUpper(d.endpoints[side].role), err)
	}
	return o, nil
}
