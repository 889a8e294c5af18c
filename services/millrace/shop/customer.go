package shop

import (
	"fmt"
	"strings"
	"time"
)

type customerDoc struct {
	meta
	Type       string    `json:"type"`
	Name       string    `json:"name"`
	Email      string    `json:"email"`
	Phone      string    `json:"phone"`
	Since      time.Time `json:"since"`
	Address    address   `json:"address"`
	Newsletter bool      `json:"newsletter"`
	Notes      []string  `json:"notes"`
}

type address struct {
	Street  string     `json:"street"`
	Zip     string     `json:"zip"`
	City    string     `json:"city"`
	Country string     `json:"country"`
	Geo     [2]float64 `json:"geo"`
}

// customer is somebody who moves house with the edits of the document.
func (s *Shop) customer(m meta, i int, v version) any {
	_, number := split(i)
	g, edit := s.generator(i, 1), s.generator(i, v.strand+1)
	first, last := pick(g, firstNames), pick(g, lastNames)
	doc := customerDoc{
		meta: m, Type: "customer", Name: first + " " + last,
		Email: fmt.Sprintf("%s.%s.%d@example.org", strings.ToLower(first), strings.ToLower(last), number),
		Phone: fmt.Sprintf("+00 %03d %06d", g.IntN(1000), g.IntN(1_000_000)),
		Since: epoch.AddDate(0, 0, -g.IntN(2000)), Newsletter: g.IntN(3) == 0, Notes: []string{},
	}
	for range v.edits {
		doc.Notes = append(doc.Notes, edit.sentences(1))
	}
	doc.Address = edit.address()
	return doc
}

func (g generator) address() address {
	city := pick(g, cities)
	return address{
		Street: fmt.Sprintf("%s %d", pick(g, streets), 1+g.IntN(150)), Zip: fmt.Sprintf("%05d", g.IntN(100_000)),
		City: city.name, Country: city.country, Geo: city.geo,
	}
}
