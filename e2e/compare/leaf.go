package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// leaf is one leaf of a document.
type leaf struct {
	deleted     bool
	start       int
	history     []string // hashes, newest first
	body        value    // without the members that the protocol has for itself
	attachments map[string]attachment
}

// attachment is what a database says of an attachment, and its bytes.
type attachment struct {
	ContentType   string `json:"content_type"`
	Revpos        int    `json:"revpos"`
	Digest        string `json:"digest"`
	Encoding      string `json:"encoding"`
	EncodedLength int64  `json:"encoded_length"`
	Data          []byte `json:"data"`
}

// protocolMembers are not part of the body.
var protocolMembers = []string{"_id", "_rev", "_revisions", "_deleted", "_attachments"}

// parseLeaf reads a document as open_revs gives it, and returns its revision.
func parseLeaf(text []byte) (string, leaf, error) {
	var meta struct {
		Rev       string `json:"_rev"`
		Deleted   bool   `json:"_deleted"`
		Revisions struct {
			Start int      `json:"start"`
			IDs   []string `json:"ids"`
		} `json:"_revisions"`
		Attachments map[string]attachment `json:"_attachments"`
	}
	if err := json.Unmarshal(text, &meta); err != nil {
		return "", leaf{}, fmt.Errorf("read metadata: %w", err)
	}
	body, err := parseValue(text)
	if err != nil {
		return "", leaf{}, fmt.Errorf("read body: %w", err)
	}
	body.members = slices.DeleteFunc(body.members, func(m member) bool {
		return slices.Contains(protocolMembers, m.name)
	})
	return meta.Rev, leaf{
		deleted: meta.Deleted, start: meta.Revisions.Start, history: meta.Revisions.IDs,
		body: body, attachments: meta.Attachments,
	}, nil
}

// compareLeaf returns how two leaves of the same revision differ; of their bodies,
// the first difference.
func compareLeaf(a, b leaf, o Options) []Difference {
	var found []Difference
	add := func(what string, a, b any) {
		found = append(found, Difference{What: what, A: fmt.Sprint(a), B: fmt.Sprint(b)})
	}
	if a.deleted != b.deleted {
		add("_deleted", a.deleted, b.deleted)
	}
	if a.start != b.start || !sameHistory(a.history, b.history, o.Forgotten) {
		add("history", a.describeHistory(), b.describeHistory())
	}
	if at, x, y, same := compareValues(a.body, b.body, o); !same {
		add("body"+at, x, y)
	}
	for _, name := range slices.Sorted(maps.Keys(a.attachments)) {
		other, there := b.attachments[name]
		if !there {
			add("attachment "+name, "there", absent)
			continue
		}
		compareAttachments(name, a.attachments[name], other, o, add)
	}
	for _, name := range slices.Sorted(maps.Keys(b.attachments)) {
		if _, there := a.attachments[name]; !there {
			add("attachment "+name, absent, "there")
		}
	}
	return found
}

// sameHistory compares hashes, newest first. Where one side may have forgotten the oldest, what
// both know must be the same.
func sameHistory(a, b []string, forgotten bool) bool {
	if n := min(len(a), len(b)); forgotten && n > 0 {
		a, b = a[:n], b[:n]
	}
	return slices.Equal(a, b)
}

func (l leaf) describeHistory() string {
	return fmt.Sprintf("%d revisions from generation %d: %s", len(l.history), l.start, strings.Join(l.history, " "))
}

func compareAttachments(name string, a, b attachment, o Options, add func(what string, a, b any)) {
	at := func(field string) string { return "attachment " + name + ": " + field }
	if a.ContentType != b.ContentType {
		add(at("content_type"), a.ContentType, b.ContentType)
	}
	if !bytes.Equal(a.Data, b.Data) {
		add(at("bytes"), describeBytes(a.Data), describeBytes(b.Data))
	}
	if a.Revpos != b.Revpos && !o.AnyRevpos {
		add(at("revpos"), a.Revpos, b.Revpos)
	}
	encoded := a.Encoding != "" || b.Encoding != ""
	if encoded && o.AnyEncoding {
		return // the digest is that of the stored bytes
	}
	if a.Digest != b.Digest {
		add(at("digest"), a.Digest, b.Digest)
	}
	if a.Encoding != b.Encoding || a.EncodedLength != b.EncodedLength {
		add(at("encoding"), a.describeEncoding(), b.describeEncoding())
	}
}

func (a attachment) describeEncoding() string {
	if a.Encoding == "" {
		return "none"
	}
	return fmt.Sprintf("%s, %d bytes", a.Encoding, a.EncodedLength)
}

func describeBytes(data []byte) string {
	return fmt.Sprintf("%d bytes %q", len(data), data[:min(len(data), 40)])
}
