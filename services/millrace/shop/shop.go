// Package shop is a data set for trying a replication out: the products, customers
// and orders of a shop, with the traces that people and devices leave in a database
// over the years: edits, deletions, conflicts, resolved conflicts and attachments.
//
// It is seeded: the same seed and size give the same documents with the same
// revisions, byte for byte, on whatever server.
package shop

import (
	"fmt"
	"math/rand/v2"
)

// Shop is a data set of so many documents. It holds none of them: each is made when
// it is asked for. It is safe for concurrent use.
type Shop struct {
	docs, designs int
	seed          uint64
	buffers       pngBuffers
}

// New returns the shop with so many documents, at least one. Deleted documents and the
// design documents, of which there are up to three, are among them.
func New(docs int, seed uint64) *Shop {
	docs = max(1, docs)
	return &Shop{docs: docs, designs: min(len(designs), docs/10), seed: seed}
}

// Docs is how many documents the shop has.
func (s *Shop) Docs() int { return s.docs }

// Document makes document i, counted from 0.
func (s *Shop) Document(i int) Document {
	if first := s.docs - s.designs; i >= first {
		return designDocument(s.seed, i-first)
	}
	g := s.generator(i, 0)
	switch kind, number := split(i); kind {
	case kindProduct:
		return s.document(i, productID(number), g.fate(), s.product)
	case kindCustomer:
		return s.document(i, customerID(number), g.fate(), s.customer)
	default:
		return s.document(i, orderID(number), g.fate(), s.order)
	}
}

// Find returns the first document that matches, for examples.
func (s *Shop) Find(matches func(Document) bool) (Document, bool) {
	for i := range s.docs {
		if d := s.Document(i); matches(d) {
			return d, true
		}
	}
	return Document{}, false
}

// What a document is about.
const (
	kindProduct = iota
	kindCustomer
	kindOrder
)

// Of each lot of documents one is a product and some are customers; orders are the rest.
const (
	lot             = 25
	customersPerLot = 5
	ordersPerLot    = lot - 1 - customersPerLot
)

// split says which kind document i has and which of its kind it is.
func split(i int) (kind, number int) {
	lots, place := i/lot, i%lot
	switch {
	case place == 0:
		return kindProduct, lots
	case place <= customersPerLot:
		return kindCustomer, lots*customersPerLot + place - 1
	default:
		return kindOrder, lots*ordersPerLot + place - 1 - customersPerLot
	}
}

// products is how many products there are, and customers how many customers: what
// orders may refer to. There is always a product; a customer may be missing in the
// smallest shops, where nobody has ordered either.
func (s *Shop) products() int { return (s.docs - s.designs + lot - 1) / lot }

func (s *Shop) customers() int {
	lots, rest := (s.docs-s.designs)/lot, (s.docs-s.designs)%lot
	return lots*customersPerLot + min(max(0, rest-1), customersPerLot)
}

func productID(n int) string  { return fmt.Sprintf("product:%05d", n) }
func customerID(n int) string { return fmt.Sprintf("customer:%06d", n) }
func orderID(n int) string    { return fmt.Sprintf("order:%07d", n) }

// generator is what chance decides of one document. Those of different documents and
// strands are independent, so documents can be made in any order.
type generator struct{ *rand.Rand }

func (s *Shop) generator(i, strand int) generator {
	return generator{rand.New(rand.NewPCG(s.seed, uint64(strand)<<32|uint64(i)))}
}

// pick chooses one.
func pick[T any](g generator, from []T) T { return from[g.IntN(len(from))] }
