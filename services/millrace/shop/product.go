package shop

import "fmt"

type productDoc struct {
	meta
	Type        string   `json:"type"`
	Name        string   `json:"name"`
	Price       cents    `json:"price"`
	Stock       int      `json:"stock"`
	Weight      float64  `json:"weightKg"`
	Colours     []string `json:"colours"`
	Description string   `json:"description"`
}

// notesEvery is how many products there are for one with a text beside its photo.
const notesEvery = 3

// product has a photo, and some have a text on how to care for it.
func (s *Shop) product(m meta, i int, v version) any {
	_, number := split(i)
	g, edit := s.generator(i, 1), s.generator(i, v.strand+1)
	m.Attachments = map[string]attachment{
		"photo.png": {ContentType: "image/png", RevPos: 1, Data: g.photo(&s.buffers)},
	}
	if number%notesEvery == 0 {
		m.Attachments["care.txt"] = attachment{
			ContentType: "text/plain", RevPos: 1, Data: []byte(g.sentences(10+g.IntN(30)) + "\n"),
		}
	}
	return productDoc{
		meta: m, Type: "product", Name: productName(number), Price: productPrice(number),
		Stock: edit.IntN(500), Weight: float64(1+g.IntN(400)) / 20,
		Colours: []string{pick(g, colours), pick(g, colours)}, Description: g.sentences(2 + g.IntN(4)),
	}
}

// productName and productPrice are functions of the number, for orders to repeat.
func productName(n int) string {
	adjective, thing := adjectives[n%len(adjectives)], things[n/len(adjectives)%len(things)]
	return fmt.Sprintf("%s %s %d", adjective, thing, 1+n/(len(adjectives)*len(things)))
}

func productPrice(n int) cents { return cents(490 + n*7919%19_000/10*10) }
