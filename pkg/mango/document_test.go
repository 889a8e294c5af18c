package mango

import (
	"errors"
	"testing"
)

const wholeDocument = `{"_id":"d","_rev":"2-b","a":1,"b":{"c":[1]},"_deleted":true,"_attachments":` +
	`{"f":{"content_type":"text/plain","revpos":1,"digest":"md5-x","length":3,"stub":true}}}`

// However a revision is read, a selector sees the same document.
func TestDocumentsDoNotDependOnHowTheyAreRead(t *testing.T) {
	for name, body := range map[string]string{
		"_bulk_get?revs=true":    `{"_id":"d","_rev":"2-b","a":1,"b":{"c":[1]},"_deleted":true,"_revisions":{"start":2,"ids":["b","a"]},"_attachments":{"f":{"content_type":"text/plain","revpos":1,"digest":"md5-x","length":3,"stub":true}}}`,
		"att_encoding_info=true": `{"_id":"d","_rev":"2-b","a":1,"b":{"c":[1]},"_deleted":true,"_attachments":{"f":{"content_type":"text/plain","revpos":1,"digest":"md5-x","length":3,"stub":true,"encoding":"gzip","encoded_length":9}}}`,
		"attachments=true":       `{"_id":"d","_rev":"2-b","a":1,"b":{"c":[1]},"_deleted":true,"_attachments":{"f":{"content_type":"text/plain","revpos":1,"digest":"md5-x","data":"YWJj"}}}`,
		"multipart":              `{"_id":"d","_rev":"2-b","a":1,"b":{"c":[1]},"_deleted":true,"_attachments":{"f":{"content_type":"text/plain","revpos":1,"digest":"md5-x","length":3,"follows":true}}}`,
		"meta=true":              `{"_id":"d","_rev":"2-b","a":1,"b":{"c":[1]},"_deleted":true,"_revs_info":[],"_conflicts":["1-x"],"_deleted_conflicts":[],"_local_seq":3,"_attachments":{"f":{"content_type":"text/plain","revpos":1,"digest":"md5-x","length":3,"stub":true}}}`,
		"another order":          ` { "_attachments":{"f":{"stub":true,"length":3,"digest":"md5-x","revpos":1,"content_type":"text\/plain"}},"_deleted":true,"a":9,"_rev":"2-b", "\u0061":1,"b":{"c":[1]},"_id":"d" } `,
	} {
		s, err := Parse([]byte(`{"$and":[{"$eq":` + wholeDocument + `}]}`))
		if err != nil {
			t.Fatal(err)
		}
		d, err := Decode([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := s.Match(d); !got || err != nil {
			t.Errorf("%s: %v, %v; sees %v", name, got, err, d.object())
		}
	}
}

func TestDeletedIsThereOnlyIfTrue(t *testing.T) {
	for body, want := range map[string]bool{
		`{"_deleted":true}`: true, `{"_deleted":false}`: false, `{}`: false,
	} {
		if got, _ := matches(t, `{"_deleted":{"$exists":true}}`, body); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}

func TestLengthOfInlineAttachments(t *testing.T) {
	for data, want := range map[string]string{"": "0", "YQ==": "1", "YWI=": "2", "YWJj": "3", "YWJjZA==": "4", "YWI": "2"} {
		if got, _ := matches(t, `{"_attachments.f.length":`+want+`}`, `{"_attachments":{"f":{"data":"`+data+`"}}}`); !got {
			t.Errorf("the length of %q is not %s", data, want)
		}
	}
}

func TestManyMembersOfTheSameName(t *testing.T) {
	body := []byte(`{"a":0`)
	for i := range 40 {
		body = append(body, `,"`+string(rune('a'+i%26))+`":`+string(rune('0'+i%10))...)
	}
	body = append(body, '}')
	if got, err := matches(t, `{"a":6,"n":9,"z":5}`, string(body)); !got || err != nil {
		t.Errorf("%s: %v, %v", body, got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, body := range []string{`[]`, `1`, `null`} {
		if _, err := Decode([]byte(body)); !errors.Is(err, ErrNotDocument) {
			t.Errorf("Decode(%s) = %v", body, err)
		}
	}
	for _, body := range []string{``, `{`, `{"a":}`, `{"a":1,}`, `{"a" 1}`, `{a:1}`, `{"a":[}`} {
		if _, err := Decode([]byte(body)); err == nil || errors.Is(err, ErrNotDocument) {
			t.Errorf("Decode(%s) = %v", body, err)
		}
	}
}
