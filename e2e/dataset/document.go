package dataset

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// document is one revision with its history, as _bulk_docs takes it with
// new_edits=false.
type document struct {
	id      string
	start   int      // generation of the revision
	history []string // hashes, newest first
	deleted bool
	fields  string // members of the body as JSON text without braces, kept as it is
	files   []file
}

// file is an attachment.
type file struct {
	name, contentType string
	content           []byte
	revpos            int // 0: the revision's own generation
}

// rev is the revision's id.
func (d document) rev() string { return fmt.Sprintf("%d-%s", d.start, d.history[0]) }

// json is the document as the protocol has it.
func (d document) json() string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"_id":%s,"_rev":%q,"_revisions":{"start":%d,"ids":["%s"]}`,
		quote(d.id), d.rev(), d.start, strings.Join(d.history, `","`))
	if d.deleted {
		b.WriteString(`,"_deleted":true`)
	}
	if len(d.files) > 0 {
		fmt.Fprintf(&b, `,"_attachments":%s`, d.attachments())
	}
	if d.fields != "" {
		b.WriteString("," + d.fields)
	}
	b.WriteString("}")
	return b.String()
}

func (d document) attachments() string {
	parts := make([]string, 0, len(d.files))
	for _, f := range d.files {
		revpos := f.revpos
		if revpos == 0 {
			revpos = d.start
		}
		parts = append(parts, fmt.Sprintf(`%s:{"content_type":%s,"revpos":%d,"data":"%s"}`,
			quote(f.name), quote(f.contentType), revpos, base64.StdEncoding.EncodeToString(f.content)))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// quote is a string in JSON.
func quote(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return string(text)
}

// generator makes what the seed decides.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, 0x6d696c6c72616365))}
}

// hash is the second half of a revision's id.
func (g generator) hash() string { return fmt.Sprintf("%016x%016x", g.Uint64(), g.Uint64()) }

// hashes are those of a history.
func (g generator) hashes(n int) []string {
	hashes := make([]string, n)
	for i := range hashes {
		hashes[i] = g.hash()
	}
	return hashes
}

// bytes are random ones, that no compression makes smaller.
func (g generator) bytes(n int) []byte {
	content := make([]byte, 0, n+8)
	for len(content) < n {
		v := g.Uint64()
		for range 8 {
			content, v = append(content, byte(v)), v>>8
		}
	}
	return content[:n]
}

// text is n bytes of words, that compression makes much smaller.
func (g generator) text(n int) []byte {
	content := make([]byte, 0, n+16)
	for len(content) < n {
		content = append(append(content, words[g.IntN(len(words))]...), ' ')
	}
	return content[:n]
}

var words = strings.Fields(`water wheel race mill stone grain flour sluice gate weir pond stream river
	bank bridge axle gear tooth belt shaft hopper bin sack scale miller apprentice season flood drought level
	head flow rate measure ledger entry order delivery cart horse road market price oats barley rye wheat`)
