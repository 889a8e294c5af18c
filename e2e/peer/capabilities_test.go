package peer_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	"millrace/e2e/peer"
)

// What is written in the table of capabilities must be what the servers do:
// data sets and comparisons rely on it.
func TestCapabilitiesAreWhatTheServersDo(t *testing.T) {
	for _, s := range peer.All(t) {
		t.Run(s.Name, func(t *testing.T) {
			db := s.NewDB(t)
			check := func(what string, want, got bool) {
				t.Helper()
				if got != want {
					t.Errorf("%s: is %t, the table says %t", what, got, want)
				}
			}
			check("IntegerSeqs", s.IntegerSeqs, !strings.Contains(changes(t, db), `"last_seq":"`))
			status, _ := ask(t, http.MethodPost, db+"/_changes?filter=_selector", `{"selector":{}}`)
			check("SelectorFilter", s.SelectorFilter, status == http.StatusOK)
			status, _ = ask(t, http.MethodGet, db+"/_security", "")
			check("Security", s.Security, status == http.StatusOK)

			check("Numbers AsWritten", s.Numbers == peer.AsWritten, stored(t, db, "n1", `{"v":0.1000}`, `0.1000`))
			check("Numbers ByValue", s.Numbers >= peer.ByValue,
				stored(t, db, "n2", `{"v":123456789012345678901234567890}`, `123456789012345678901234567890`))
			check("1e400 kept", s.Numbers == peer.AsWritten, stored(t, db, "n3", `{"v":1e400}`, `1e400`))
			check("KeyOrder", s.KeyOrder, stored(t, db, "k", `{"b":1,"2":2,"1":3}`, `"b":1,"2":2,"1":3`))
			check("DuplicateKeys", s.DuplicateKeys, stored(t, db, "d", `{"v":{"a":1,"a":2}}`, `{"a":1,"a":2}`))
			check("LoneSurrogates", s.LoneSurrogates, stored(t, db, "s", `{"v":"\ud83d"}`, `"\ud83d"`))

			stored(t, db, "_design/v", `{"validate_doc_update":"function(n){ if (n.bad) throw({forbidden: 'bad'}); }"}`, "")
			check("Validation", s.Validation, !stored(t, db, "bad", `{"bad":true}`, "bad"))

			ask(t, http.MethodPut, db+"/text", `{"_attachments":{"a":{"content_type":"text/plain","data":"`+strings.Repeat("aGVs", 100)+`"}}}`)
			_, body := ask(t, http.MethodGet, db+"/text?att_encoding_info=true", "")
			check("TextCompression", s.TextCompression, strings.Contains(body, `"encoding":"gzip"`))

			check("EncodedAttachments", s.EncodedAttachments, staysGzipped(t, db))
			check("Multipart", s.Multipart, answersMultipart(t, db+"/text?open_revs=all"))
			ask(t, http.MethodPost, db+"/_bulk_docs", `{"new_edits":false,"docs":[
				{"_id":"old","_rev":"3-c","_attachments":{"a":{"content_type":"image/png","revpos":2,"data":""}}},
				{"_id":"gone","_rev":"3-c","_deleted":true,"_attachments":{"a":{"content_type":"image/png","data":""}}}]}`)
			_, body = ask(t, http.MethodGet, db+"/old", "")
			check("Revpos", s.Revpos, strings.Contains(body, `"revpos":2`))
			_, body = ask(t, http.MethodGet, db+"/gone?rev=3-c", "")
			check("TombstoneAttachments", s.TombstoneAttachments, strings.Contains(body, `"revpos"`))
			_, rev := ask(t, http.MethodPut, db+"/purged", "{}")
			rev = between(rev, `"rev":"`, `"`)
			status, _ = ask(t, http.MethodPost, db+"/_purge", `{"purged":["`+rev+`"]}`)
			check("Purge", s.Purge, status < 300)

			_, body = ask(t, http.MethodPost, db+"/_revs_diff", `{"k":["9-00000000000000000000000000000000"]}`)
			check("PossibleAncestors", s.PossibleAncestors, strings.Contains(body, "possible_ancestors"))
			_, body = ask(t, http.MethodGet, db+"/_changes?seq_interval=3&limit=4", "")
			check("SeqInterval", s.SeqInterval, strings.Contains(body, `"seq":null`))
		})
	}
}

// stored says whether the document comes back with the text as it is.
func stored(t *testing.T, db, id, doc, text string) bool {
	t.Helper()
	status, _ := ask(t, http.MethodPut, db+"/"+id, doc)
	_, body := ask(t, http.MethodGet, db+"/"+id, "")
	return status < 300 && strings.Contains(body, text)
}

// staysGzipped says whether an attachment that came gzipped is stored so.
func staysGzipped(t *testing.T, db string) bool {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, _ = w.Write([]byte("hello"))
	_ = w.Close()
	res := do(t, http.MethodPut, db+"/zipped/a", &buf, http.Header{
		"Content-Type": {"image/png"}, "Content-Encoding": {"gzip"},
	})
	_ = res.Body.Close()
	_, body := ask(t, http.MethodGet, db+"/zipped?att_encoding_info=true", "")
	return strings.Contains(body, `"encoding":"gzip"`)
}

func answersMultipart(t *testing.T, url string) bool {
	t.Helper()
	res := do(t, http.MethodGet, url, http.NoBody, http.Header{"Accept": {"multipart/mixed"}})
	_ = res.Body.Close()
	return strings.HasPrefix(res.Header.Get("Content-Type"), "multipart/mixed")
}

// between is the text after one mark and before another.
func between(text, after, before string) string {
	_, text, _ = strings.Cut(text, after)
	text, _, _ = strings.Cut(text, before)
	return text
}

func changes(t *testing.T, db string) string {
	t.Helper()
	_, body := ask(t, http.MethodGet, db+"/_changes", "")
	return body
}

func TestSharedCapabilitiesAreThoseOfBoth(t *testing.T) {
	for _, p := range peer.Pairs(t) {
		shared := p.Shared()
		if shared != p.Target.And(p.Source.Capabilities) {
			t.Errorf("%s: And depends on the order", p.Name())
		}
		if p.Source == p.Target && shared != p.Source.Capabilities {
			t.Errorf("%s: And with itself is %+v", p.Name(), shared)
		}
	}
}
