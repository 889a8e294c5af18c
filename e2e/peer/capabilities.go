package peer

// Numbers is how much of a number in a document survives in a server.
type Numbers int

const (
	// AsFloat64 is what JavaScript keeps: 2^63 comes out rounded, 1e400 as null.
	AsFloat64 Numbers = iota
	// ByValue is what CouchDB keeps: whole numbers of any size exactly, others as
	// float64; 0.1000 comes out as 0.1. What no float64 can hold is refused.
	ByValue
	// AsWritten is what a server keeps that does not touch documents.
	AsWritten
)

// Capabilities is what a server can do and store. Only what differs between
// servers is here: all of them have conflicts, histories and attachments.
type Capabilities struct {
	// IntegerSeqs: update sequences are numbers, not opaque strings.
	IntegerSeqs bool
	// Multipart: it answers multipart/mixed and multipart/related where asked.
	Multipart bool
	// SeqInterval: _changes leaves out the seqs between.
	SeqInterval bool
	// SelectorFilter: _changes has the filter _selector.
	SelectorFilter bool
	// PossibleAncestors: _revs_diff says which leaves might be ancestors.
	PossibleAncestors bool
	// Validation: validate_doc_update functions are run.
	Validation bool
	// Purge: _purge works.
	Purge bool
	// Security: _security is stored.
	Security bool

	// Numbers is what becomes of numbers.
	Numbers Numbers
	// KeyOrder: the keys of an object come out in the order they went in.
	KeyOrder bool
	// DuplicateKeys: an object keeps all values of a key that comes twice.
	DuplicateKeys bool
	// LoneSurrogates: half of a surrogate pair (\ud83d) may stand in a string.
	LoneSurrogates bool
	// TextCompression: the server gzips attachments of text types.
	TextCompression bool
	// EncodedAttachments: an attachment that a client sends gzipped stays so and
	// says so.
	EncodedAttachments bool
	// Revpos: an attachment that comes with a replicated document keeps its revpos;
	// else it gets the revision's generation.
	Revpos bool
	// TombstoneAttachments: a deleted revision keeps its attachments.
	TombstoneAttachments bool
}

// And is what both servers can do: what data must keep to that is written to one
// and replicated to the other.
func (c Capabilities) And(d Capabilities) Capabilities {
	return Capabilities{
		Revpos:               c.Revpos && d.Revpos,
		TombstoneAttachments: c.TombstoneAttachments && d.TombstoneAttachments,
		IntegerSeqs:          c.IntegerSeqs && d.IntegerSeqs,
		Multipart:            c.Multipart && d.Multipart,
		SeqInterval:          c.SeqInterval && d.SeqInterval,
		SelectorFilter:       c.SelectorFilter && d.SelectorFilter,
		PossibleAncestors:    c.PossibleAncestors && d.PossibleAncestors,
		Validation:           c.Validation && d.Validation,
		Purge:                c.Purge && d.Purge,
		Security:             c.Security && d.Security,
		Numbers:              min(c.Numbers, d.Numbers),
		KeyOrder:             c.KeyOrder && d.KeyOrder,
		DuplicateKeys:        c.DuplicateKeys && d.DuplicateKeys,
		LoneSurrogates:       c.LoneSurrogates && d.LoneSurrogates,
		TextCompression:      c.TextCompression && d.TextCompression,
		EncodedAttachments:   c.EncodedAttachments && d.EncodedAttachments,
	}
}

// capabilitiesOf is what the kinds of servers were seen to do.
func capabilitiesOf(kind Kind) Capabilities {
	switch kind {
	case CouchDB:
		return Capabilities{
			Multipart: true, SeqInterval: true, SelectorFilter: true, PossibleAncestors: true,
			Validation: true, Purge: true, Security: true,
			Numbers: ByValue, KeyOrder: true,
			TextCompression: true, EncodedAttachments: true, Revpos: true, TombstoneAttachments: true,
		}
	case Millpond:
		return Capabilities{
			Multipart: true, SeqInterval: true, SelectorFilter: true, PossibleAncestors: true,
			Validation: true, Purge: true, Security: true,
			Numbers: AsWritten, KeyOrder: true, DuplicateKeys: true,
			TextCompression: true, EncodedAttachments: true, Revpos: true, TombstoneAttachments: true,
		}
	case PouchDB:
		return Capabilities{IntegerSeqs: true, Numbers: AsFloat64, LoneSurrogates: true}
	default:
		return Capabilities{}
	}
}
