package replication

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"millrace/pkg/ejson"
)

// Parser reads replication documents and the bodies of POST /_replicate, which
// have the same fields. The zero value is not useful for want of defaults; see
// [ParseSpec].
type Parser struct {
	// Defaults for the options that a document leaves open.
	Defaults Tuning
	// Local turns the name of a database without a host into a URL and the
	// headers that go with it. Nil refuses such names, as CouchDB does in
	// documents.
	Local func(name string) (url string, headers []Header)
}

// ErrNotAnObject is returned for a document that is no JSON object.
var ErrNotAnObject = errors.New("request body must be a JSON object")

// ParseSpec reads a replication document with CouchDB's defaults; see
// [Parser.Parse].
func ParseSpec(doc []byte) (*Spec, error) { return Parser{Defaults: DefaultTuning()}.Parse(doc) }

// Parse reads a replication document. Fields that are not known are ignored.
// Errors are *[FieldError] for the first field that is wrong, in the order in
// which CouchDB looks at them, [ErrNotAnObject], or what is wrong with the JSON.
//
// Parse is stricter than CouchDB about numbers that cannot work, about booleans
// and strings that are of another type, and about headers that cannot be sent.
func (p Parser) Parse(doc []byte) (*Spec, error) {
	members, err := ejson.Members(doc)
	if errors.Is(err, ejson.ErrNotAnObject) || errors.Is(err, ejson.ErrTrailing) {
		return nil, ErrNotAnObject
	}
	if err != nil {
		return nil, fmt.Errorf("parse replication document: %w", err)
	}
	d := &draft{Spec: Spec{Tuning: p.Defaults}, raw: make(map[string]jsontext.Value)}
	for _, m := range members {
		d.raw[m.Name] = m.Value
	}
	if err := d.proxies(); err != nil {
		return nil, err
	}
	for _, m := range members {
		if err := d.option(m.Name, m.Value); err != nil {
			return nil, err
		}
	}
	if d.Cancel && d.CancelID != (ID{}) {
		return &d.Spec, nil
	}
	for _, step := range []func() error{
		func() error { return exclusive("", d.raw) },
		func() error { return d.source(p) },
		func() error { return d.targets(p) },
		func() error { return d.Terms.check("") },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &d.Spec, nil
}

// draft is a spec in the making.
type draft struct {
	Spec
	raw                      map[string]jsontext.Value
	sourceProxy, targetProxy Secret
	sourceSite, targetSite   string
}

// proxies come first in CouchDB.
func (d *draft) proxies() error {
	both, err := d.proxy("proxy")
	if err != nil {
		return err
	}
	if d.sourceProxy, err = d.proxy("source_proxy"); err != nil {
		return err
	}
	if d.targetProxy, err = d.proxy("target_proxy"); err != nil {
		return err
	}
	switch {
	case both == "":
		return nil
	case d.sourceProxy != "":
		return refuse("proxy", "`proxy` is mutually exclusive with `source_proxy`")
	case d.targetProxy != "":
		return refuse("proxy", "`proxy` is mutually exclusive with `target_proxy`")
	}
	d.sourceProxy, d.targetProxy = both, both
	return nil
}

func (d *draft) proxy(field string) (Secret, error) {
	v, ok := d.raw[field]
	if !ok {
		return "", nil
	}
	return proxyURL(field, v)
}

func proxyURL(field string, v jsontext.Value) (Secret, error) {
	raw, err := asString(v)
	if err != nil {
		return "", refuse(field, "Invalid proxy url")
	}
	if raw == "" {
		return "", nil
	}
	if _, ok := parseAddress(raw, "http", "https", "socks5"); !ok {
		return "", invalidURL(field, "proxy")
	}
	return Secret(raw), nil
}

func (d *draft) source(p Parser) error {
	v, ok := d.raw["source"]
	if !ok {
		return refuse("source", "Missing replicator database")
	}
	e, err := p.parseEndpoint("source", v)
	if err != nil {
		return err
	}
	d.Source = d.placed(e, d.sourceProxy, d.sourceSite)
	return nil
}

// placed adds what the document says of a whole side; an endpoint's own site and proxy
// count more.
func (d *draft) placed(e Endpoint, proxy Secret, site string) Endpoint {
	if e.Proxy == "" {
		e.Proxy = proxy
	}
	if e.Site == "" {
		e.Site = site
	}
	return e
}

// milliseconds reads a duration of at least one.
func milliseconds(field string, v jsontext.Value, dst *time.Duration) error {
	var n int
	if err := asInt(field, v, 1, &n); err != nil {
		return err
	}
	*dst = time.Duration(n) * time.Millisecond
	return nil
}
