package shop

import (
	"strconv"
	"time"
)

// epoch is when the shop opened, and pace how often something is sold.
var epoch = time.Date(2024, time.March, 1, 8, 0, 0, 0, time.UTC)

const pace = 11 * time.Minute

// cents is an amount of money. In JSON it has two decimals, also where they are zeros,
// so that a replication that decodes numbers on the way gives itself away (invariant 7).
type cents int

// MarshalJSON writes 1990 as 19.90.
func (c cents) MarshalJSON() ([]byte, error) {
	out := strconv.AppendInt(nil, int64(c/100), 10)
	out = append(out, '.', '0'+byte(c/10%10), '0'+byte(c%10))
	return out, nil
}

type orderDoc struct {
	meta
	Type     string    `json:"type"`
	Number   int       `json:"number"`
	Customer string    `json:"customer"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	Status   string    `json:"status"`
	Currency string    `json:"currency"`
	Lines    []line    `json:"lines"`
	Total    cents     `json:"total"`
	ShipTo   address   `json:"shipTo"`
	Payment  payment   `json:"payment"`
	Tags     []string  `json:"tags"`
	Comment  string    `json:"comment,omitempty"`
}

type line struct {
	Product  string `json:"product"`
	Name     string `json:"name"`
	Quantity int    `json:"quantity"`
	Price    cents  `json:"price"`
}

type payment struct {
	Method string `json:"method"`
	Paid   bool   `json:"paid"`
}

func (s *Shop) order(m meta, i int, v version) any {
	_, number := split(i)
	g, edit := s.generator(i, 1), s.generator(i, v.strand+1)
	created := epoch.Add(time.Duration(number) * pace)
	doc := orderDoc{
		meta: m, Type: "order", Number: number, Customer: customerID(g.IntN(s.customers())), Created: created,
		Updated: created.Add(time.Duration(v.edits*(5+edit.IntN(20))) * time.Hour),
		Status:  statuses[min(v.edits+v.strand, len(statuses)-1)], Currency: "EUR", ShipTo: g.address(),
		Payment: payment{Method: pick(g, methods), Paid: v.edits > 0}, Tags: []string{pick(g, tags), pick(g, tags)},
	}
	for range 1 + g.IntN(4) {
		product := g.IntN(s.products())
		l := line{
			Product: productID(product), Name: productName(product), Quantity: 1 + g.IntN(3), Price: productPrice(product),
		}
		doc.Lines = append(doc.Lines, l)
		doc.Total += cents(l.Quantity) * l.Price
	}
	if edit.IntN(3) == 0 {
		doc.Comment = edit.sentences(1 + edit.IntN(3))
	}
	return doc
}
