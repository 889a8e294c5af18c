package replication

import "strings"

// ID identifies a replication as CouchDB does: its Base is derived from what is
// replicated, the extension from how.
type ID struct {
	// Base is 32 lower-case hexadecimal digits. It names the checkpoints.
	Base string
	// Ext is "", "+continuous", "+create_target" or "+continuous+create_target".
	Ext string
}

// ParseID splits an id as a user writes it. Spaces count as +, because that is
// what an unescaped + in a URL turns into.
func ParseID(id string) ID {
	id = strings.ReplaceAll(id, " ", "+")
	base, _, _ := strings.Cut(id, "+")
	return ID{Base: base, Ext: id[len(base):]}
}

// String is the whole id.
func (id ID) String() string { return id.Base + id.Ext }

// Checkpoint is the _id of the checkpoint documents. A continuous and a
// one-shot job share them.
func (id ID) Checkpoint() string { return "_local/" + id.Base }
