package checkpoint

import (
	"bytes"
	"math/big"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/ejson"
)

// Compare finds where a run may begin: the newest position that both logs vouch
// for, and the history to continue. A nil log is that of a database without
// one. The sequence is `0` and the history empty when the logs have nothing in
// common: everything is then replicated from the beginning.
//
// The rule is CouchDB's compare_replication_logs: logs of the same session
// agree on the source's source_last_seq; otherwise the newest session that both
// histories have decides. In two points Compare is more careful:
//
//   - When the two sides recorded different sequences for the same session, the
//     older counts, and the history of the side that has it: a side that was
//     restored from a copy does not have what the other remembers (invariant
//     1). When it cannot be told which is older, the session is passed over.
//     CouchDB takes the word of whichever side it looked at.
//   - The session found in both histories stays in the history. CouchDB drops
//     it; after another checkpoint that reaches one side only, the logs then
//     have nothing in common any more and everything is replicated again.
//
// So the first entry of the history, if any, is the session that seq is from.
func Compare(source, target *Log) (seq jsontext.Value, history []Entry) {
	source, target = orEmpty(source), orEmpty(target)
	if source.SessionID == target.SessionID {
		s := mark{source.SourceLastSeq, source.History}
		t := mark{target.SourceLastSeq, target.History}
		if m, ok := older(s, t); ok {
			return orZero(m.seq), m.history
		}
	}
	return compareHistories(source.History, target.History)
}

// Start is where a run begins: at the checkpoint if there is one, else at the
// job's since_seq, else at 0. (CouchDB from 3.5.2 on; before, a since_seq was
// obeyed at every restart, which replicated everything again.)
func Start(checkpoint, since jsontext.Value) jsontext.Value {
	if isZero(checkpoint) {
		return orZero(since)
	}
	return checkpoint
}

// mark is what one side recorded of a session, and its history from that
// session on.
type mark struct {
	seq     jsontext.Value
	history []Entry
}

// compareHistories walks both histories from the newest entry on.
func compareHistories(source, target []Entry) (jsontext.Value, []Entry) {
	for len(source) > 0 && len(target) > 0 {
		if m, ok := common(source, target); ok {
			return orZero(m.seq), m.history
		}
		if m, ok := common(target, source[1:]); ok {
			return orZero(m.seq), m.history
		}
		source, target = source[1:], target[1:]
	}
	return orZero(nil), nil
}

// common looks for the head of one history in the other.
func common(history, other []Entry) (mark, bool) {
	head := history[0]
	if head.SessionID == "" {
		return mark{}, false
	}
	for i, e := range other {
		if e.SessionID == head.SessionID {
			return older(mark{head.RecordedSeq, history}, mark{e.RecordedSeq, other[i:]})
		}
	}
	return mark{}, false
}

// older returns the mark whose sequence comes first, the first one when they
// are the same; and false when that cannot be told.
func older(a, b mark) (mark, bool) {
	if sameSeq(a.seq, b.seq) {
		return a, true
	}
	x, y := position(a.seq), position(b.seq)
	switch {
	case x == nil || y == nil || x.Cmp(y) == 0:
		return mark{}, false
	case x.Cmp(y) < 0:
		return a, true
	default:
		return b, true
	}
}

// position is the number that a sequence begins with: of 12, "12-g1AAA" and
// [12,"g1AAA"] it is 12. Within the life of one database, of servers that write
// such sequences, it only grows. Nil when there is none.
func position(seq jsontext.Value) *big.Int {
	if isZero(seq) {
		return new(big.Int)
	}
	digits := string(seq)
	switch seq.Kind() {
	case '"':
		if json.Unmarshal(seq, &digits) != nil {
			return nil
		}
		digits, _, _ = strings.Cut(digits, "-")
	case '[':
		var pair []jsontext.Value
		if json.Unmarshal(seq, &pair) != nil || len(pair) == 0 {
			return nil
		}
		digits = string(pair[0])
	}
	if strings.Trim(digits, "0123456789") != "" {
		return nil
	}
	n, ok := new(big.Int).SetString(digits, 10)
	if !ok {
		return nil
	}
	return n
}

func sameSeq(a, b jsontext.Value) bool {
	if isZero(a) || isZero(b) {
		return isZero(a) && isZero(b)
	}
	return bytes.Equal(compact(a), compact(b))
}

// compact drops white space; what is no JSON stays as it is.
func compact(v jsontext.Value) jsontext.Value {
	c := v.Clone()
	if c.Compact(ejson.Lenient()...) != nil {
		return v
	}
	return c
}

// isZero reports a sequence that means the beginning: absent, null or 0.
func isZero(seq jsontext.Value) bool {
	s := strings.TrimSpace(string(seq))
	return s == "" || s == "null" || s == "0"
}

func orEmpty(l *Log) *Log {
	if l == nil {
		return &Log{}
	}
	return l
}
