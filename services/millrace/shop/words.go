package shop

import "strings"

var (
	adjectives = []string{"Alder", "Amber", "Birch", "Blue", "Bright", "Broad", "Copper", "Elm", "Fine", "Green", "Grey",
		"Heavy", "Light", "Little", "Oak", "Plain", "River", "Round", "Slate", "Tall"}
	things = []string{"Apron", "Basket", "Bench", "Bowl", "Broom", "Candle", "Chair", "Clock", "Cup", "Hook", "Jug",
		"Kettle", "Lamp", "Mill", "Pan", "Rake", "Scale", "Shelf", "Sieve", "Stool", "Table", "Tray", "Vase", "Wheel"}
	colours    = []string{"black", "blue", "brown", "green", "grey", "red", "white", "yellow"}
	firstNames = []string{"Ada", "Ben", "Chiara", "Dario", "Ebba", "Femi", "Goran", "Hana", "Ines", "Jun", "Kofi", "Lena",
		"Marek", "Noor", "Olga", "Pia", "Quentin", "Rosa", "Søren", "Tariq", "Uma", "Vera", "Wen", "Yusuf", "Zoë"}
	lastNames = []string{"Abbott", "Berg", "Castro", "Diallo", "Eriksen", "Fischer", "García", "Haddad", "Ito", "Jansen",
		"Kowalski", "Lindqvist", "Müller", "Novák", "Okafor", "Petrov", "Rossi", "Sato", "Tan", "Virtanen", "Weber", "Young"}
	streets = []string{"Bridge Street", "Canal Side", "Church Lane", "Fern Road", "Harbour Row", "High Street", "Lock Lane",
		"Market Square", "Mill Road", "Pond Street", "Station Road", "Weir Walk"}
	cities = []struct {
		name, country string
		geo           [2]float64
	}{
		{"Bergen", "NO", [2]float64{60.3913, 5.3221}}, {"Córdoba", "ES", [2]float64{37.8882, -4.7794}},
		{"Dresden", "DE", [2]float64{51.0504, 13.7373}}, {"Gent", "BE", [2]float64{51.0543, 3.7174}},
		{"Kraków", "PL", [2]float64{50.0647, 19.945}}, {"Lyon", "FR", [2]float64{45.764, 4.8357}},
		{"Malmö", "SE", [2]float64{55.605, 13.0038}}, {"Pécs", "HU", [2]float64{46.0727, 18.2323}},
		{"Tampere", "FI", [2]float64{61.4978, 23.761}}, {"Torino", "IT", [2]float64{45.0703, 7.6869}},
	}
	statuses = []string{"received", "paid", "packed", "shipped", "delivered", "closed", "returned"}
	methods  = []string{"card", "invoice", "transfer", "voucher"}
	tags     = []string{"b2b", "express", "first-order", "fragile", "gift", "pickup", "sale", "web"}
	staff    = []string{"import", "mira", "paul", "system", "tess"}
	reasons  = []string{"asked for by the customer", "duplicate", "entered by mistake", "no longer sold"}
	prose    = strings.Fields(`the a wheel water of is and with made for every day it can be left outside in dry places wash by
		hand never near an open fire comes back after years as good wood from old mills turned slowly oiled twice holds more than
		one would think please ring before delivery second floor leave at neighbour keep upright until use small parts`)
)

// sentences is text of so many sentences.
func (g generator) sentences(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		word := pick(g, prose)
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
		for range 4 + g.IntN(9) {
			b.WriteByte(' ')
			b.WriteString(pick(g, prose))
		}
		b.WriteByte('.')
	}
	return b.String()
}
