package shop

import "fmt"

type designDoc struct {
	meta
	Language string          `json:"language"`
	Views    map[string]view `json:"views"`
}

type view struct {
	Map    string `json:"map"`
	Reduce string `json:"reduce,omitempty"`
}

// designs are the design documents, by name.
var designs = []struct {
	name  string
	views map[string]view
}{
	{"orders", map[string]view{
		"by_customer": {Map: `function (doc) { if (doc.type === "order") emit([doc.customer, doc.created], doc.total); }`, Reduce: "_sum"},
		"by_status":   {Map: `function (doc) { if (doc.type === "order") emit(doc.status, null); }`, Reduce: "_count"},
	}},
	{"customers", map[string]view{
		"by_city": {Map: `function (doc) { if (doc.type === "customer") emit([doc.address.country, doc.address.city], null); }`, Reduce: "_count"},
	}},
	{"products", map[string]view{
		"out_of_stock": {Map: `function (doc) { if (doc.type === "product" && doc.stock === 0) emit(doc.name, null); }`},
		"conflicts":    {Map: `function (doc) { if (doc._conflicts) emit(doc._id, doc._conflicts); }`},
	}},
}

func designDocument(seed uint64, n int) Document {
	of := designs[n]
	id := "_design/" + of.name
	first := hash(seed, id, 0, 1)
	d := Document{ID: id, Kind: Design}
	d.add(designDoc{
		meta:     meta{ID: id, Rev: fmt.Sprintf("1-%s", first), Revisions: revisions{Start: 1, IDs: []string{first}}},
		Language: "javascript", Views: of.views,
	})
	return d
}
