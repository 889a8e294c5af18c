// Package corpus makes the documents of a benchmark: seeded, so that every run
// moves the same bytes; like what an application would store; and with enough
// chance in them not to compress to nothing.
package corpus

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// MinSize is the smallest document, in bytes, that [New] can make.
const MinSize = 384

// Corpus is a set of documents with one revision each, cut into the requests
// that read and write them.
type Corpus struct {
	Docs    int
	Batches []Batch
}

// Batch is a number of documents as both sides of a replication see them.
type Batch struct {
	Docs  int
	Bytes int64  // of all its documents, without _rev and _revisions, attachments in Base64
	Read  []byte // a request of _bulk_get
	Write []byte // a request of _bulk_docs with new_edits=false, with histories
}

// New makes docs documents of size bytes, in batches of perBatch. Ids ascend
// like those that CouchDB makes up by default (a random beginning, then a
// counter). The size counts the document as an application would send it, with
// _id but without what replication adds to it. A size below [MinSize] is
// taken for that.
func New(seed uint64, docs, size, perBatch int) *Corpus {
	return build(seed, docs, perBatch, func(random *rand.Rand, id string) []byte {
		return Fields(random, size-len(`{"_id":"",}`)-len(id))
	})
}

// Owned is a corpus whose documents have owners, PerOwner of them each but for the last ones.
type Owned struct {
	*Corpus
	// Owners are the documents of each, as one batch.
	Owners []Batch
}

// NewOwned makes documents as [New] does, with a member "owner". The owners' documents stand
// between each other's.
func NewOwned(seed uint64, docs, size, perBatch, perOwner int) *Owned {
	o := &Owned{Owners: make([]Batch, max(1, docs/max(1, perOwner)))}
	for i := range o.Owners {
		o.Owners[i].open()
	}
	n := 0
	o.Corpus = build(seed, docs, perBatch, func(random *rand.Rand, id string) []byte {
		owner := n % len(o.Owners)
		n++
		fields := fmt.Appendf(nil, `"owner":%q,`, Owner(owner))
		fields = append(fields, Fields(random, size-len(`{"_id":"",}`)-len(id)-len(fields))...)
		o.Owners[owner].Docs++
		o.Owners[owner].add(id, fields)
		return fields
	})
	for i := range o.Owners {
		o.Owners[i].end()
	}
	return o
}

// Owner is what stands in the documents of owner number i.
func Owner(i int) string { return fmt.Sprintf("owner-%d", i) }

// build makes documents whose members other than _id are what fields returns.
func build(seed uint64, docs, perBatch int, fields func(random *rand.Rand, id string) []byte) *Corpus {
	random := rand.New(rand.NewPCG(seed, 0x6d696c6c72616365))
	start := fmt.Sprintf("%016x%010x", random.Uint64(), random.Uint64N(1<<40))
	c := &Corpus{Docs: docs}
	for first := 0; first < docs; first += perBatch {
		b := Batch{Docs: min(perBatch, docs-first)}
		b.open()
		for i := range b.Docs {
			id := fmt.Sprintf("%s%06x", start, first+i)
			b.add(id, fields(random, id))
		}
		b.end()
		c.Batches = append(c.Batches, b)
	}
	return c
}

// open begins both requests, and end ends them.
func (b *Batch) open() {
	b.Read = append(b.Read, `{"docs":[`...)
	b.Write = append(b.Write, `{"new_edits":false,"docs":[`...)
}

func (b *Batch) end() {
	b.Read = append(b.Read, ']', '}')
	b.Write = append(b.Write, ']', '}')
}

// add appends a document to both requests.
func (b *Batch) add(id string, fields []byte) {
	if b.Bytes > 0 {
		b.Read = append(b.Read, ',')
		b.Write = append(b.Write, ',')
	}
	hash := md5.Sum(fields)
	rev := hex.EncodeToString(hash[:])
	b.Read = fmt.Appendf(b.Read, `{"id":%q,"rev":"1-%s"}`, id, rev)
	b.Write = fmt.Appendf(b.Write, `{"_id":%q,"_rev":"1-%s","_revisions":{"start":1,"ids":[%q]},`, id, rev, rev)
	b.Write = append(append(b.Write, fields...), '}')
	b.Bytes += int64(len(fields) + len(id) + len(`{"_id":"",}`))
}

// Fields returns the members of a document, without braces and without _id,
// of size bytes or the few hundred that they need at least.
func Fields(random *rand.Rand, size int) []byte {
	f := fmt.Appendf(make([]byte, 0, size), `"type":"order","number":%d,"created":"2026-%02d-%02dT%02d:%02d:%02dZ",`,
		random.IntN(1e6), 1+random.IntN(12), 1+random.IntN(28), random.IntN(24), random.IntN(60), random.IntN(60))
	name := word(random)
	f = fmt.Appendf(f, `"customer":{"name":"%s %s","mail":"%s@example.org"},"paid":%t,`, name, word(random), name, random.IntN(2) == 0)
	f = fmt.Appendf(f, `"total":%s,"tags":["%s","%s"],"note":"`,
		strconv.FormatFloat(float64(random.IntN(1e6))/100, 'f', 2, 64), word(random), word(random))
	rest := size - len(f) - len(`","token":""`)
	f = prose(f, random, rest/2)
	f = append(f, `","token":"`...)
	return append(token(f, random, size-len(f)-1), '"')
}

// syllables make words that are spoken like any, and stay free of what JSON
// would have to escape.
var syllables = [...]string{"ba", "den", "fi", "gor", "hal", "jo", "kan", "lim", "mo", "nur", "pel", "ra", "sto", "ti", "ul", "ves"}

// word returns two to four syllables.
func word(random *rand.Rand) string {
	var w []byte
	for range 2 + random.IntN(3) {
		w = append(w, syllables[random.IntN(len(syllables))]...)
	}
	return string(w)
}

// prose appends n bytes of words.
func prose(to []byte, random *rand.Rand, n int) []byte {
	end := len(to) + max(n, 0)
	for len(to) < end {
		to = append(append(to, word(random)...), ' ')
	}
	return to[:end]
}

// alphabet has 64 letters, so a letter of a token carries 6 bits.
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// token appends n bytes that do not compress below three quarters.
func token(to []byte, random *rand.Rand, n int) []byte {
	for range n {
		to = append(to, alphabet[random.IntN(len(alphabet))])
	}
	return to
}
