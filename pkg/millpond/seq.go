package millpond

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// seqFormat writes and reads the update sequences of one database. Unless
// integers are asked for, a seq is "N-token" with a token that differs between a
// database and its re-creation, as CouchDB's does.
type seqFormat struct {
	integers bool
	token    string
}

// newSeqFormat: the same server, name and instance give the same format.
func newSeqFormat(server *Server, name, instance string) seqFormat {
	sum := sha256.Sum256([]byte(server.opts.UUID + "\x00" + name + "\x00" + instance))
	return seqFormat{
		integers: server.opts.IntegerSeqs,
		token:    "g1AAAA" + base64.RawURLEncoding.EncodeToString(sum[:]),
	}
}

// append appends the seq as JSON.
func (f seqFormat) append(dst []byte, seq uint64) []byte {
	if f.integers {
		return strconv.AppendUint(dst, seq, 10)
	}
	dst = append(dst, '"')
	dst = f.appendText(dst, seq)
	return append(dst, '"')
}

// appendText appends the seq as it stands in a query.
func (f seqFormat) appendText(dst []byte, seq uint64) []byte {
	dst = strconv.AppendUint(dst, seq, 10)
	if f.integers {
		return dst
	}
	dst = append(dst, '-')
	return append(dst, f.token...)
}

// parse reads a seq from a query, bare or as a JSON string. A seq of another
// database, or of this one before its re-creation, counts as 0: nothing may be
// missed because of it (invariant 1).
func (f seqFormat) parse(text string) (uint64, error) {
	if v := jsontext.Value(text); v.IsValid() {
		if unquoted, ok := stringValue(v); ok {
			text = unquoted
		}
	}
	number, token, hasToken := strings.Cut(text, "-")
	seq, err := strconv.ParseUint(number, 10, 64)
	switch {
	case err != nil, !hasToken && !f.integers && seq != 0:
		return 0, badRequest("Malformed sequence supplied in 'since' parameter.")
	case hasToken && token != f.token:
		return 0, nil
	}
	return seq, nil
}
