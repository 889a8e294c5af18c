// Package mangotest makes random selectors and documents in which the cases that
// matter meet: values that are equal, nearly equal or equal only to a database,
// fields that are missing, null or an array, and every operator.
package mangotest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// Generator makes the same selectors and documents from the same seed.
type Generator struct{ r *rand.Rand }

// New is a generator for a seed.
func New(seed uint64) *Generator { return &Generator{rand.New(rand.NewPCG(seed, seed))} }

// IntN is a random number below n, for choices of a test.
func (g *Generator) IntN(n int) int { return g.r.IntN(n) }

// Pinned is a selector that pins a field to values or prefixes, alone or beside other
// conditions: what can be looked up instead of evaluated.
func (g *Generator) Pinned() string {
	pin := g.pin()
	switch g.r.IntN(5) {
	case 0:
		return fmt.Sprintf(`{"$and":[%s,%s]}`, g.Selector(), pin)
	case 1:
		return fmt.Sprintf(`{"$or":[%s,%s]}`, pin, g.pin())
	case 2:
		return fmt.Sprintf(`{"$and":[{"$and":[%s]},{"$or":[%s,%s]}]}`, pin, g.pin(), g.pin())
	default:
		return pin
	}
}

func (g *Generator) pin() string {
	field := pick(g, fields)
	if g.r.IntN(4) == 0 {
		field = "_id"
	}
	argument := func() string { return g.argument(field) }
	condition := argument()
	switch g.r.IntN(8) {
	case 0, 1:
		condition = `{"$in":` + g.list(g.r.IntN(4), argument) + `}`
	case 2:
		condition = `{"$eq":` + condition + `}`
	case 3:
		condition = `{"$all":` + g.list(g.r.IntN(3), argument) + `}`
	case 4:
		condition = `{"$elemMatch":{"$eq":` + condition + `}}`
	case 5:
		condition = pick(g, []string{`{"$beginsWith":"user:"}`, `{"$beginsWith":"e"}`, `{"$beginsWith":"日"}`, `{"$beginsWith":"a"}`})
	case 6:
		if field == "_id" {
			condition = pick(g, []string{`{"$gte":"joe:","$lt":"joe;"}`, `{"$gt":"user:","$lte":"user:\uffff"}`, `{"$gte":"a","$lt":"b"}`})
		}
	}
	return "{" + quote(field) + ":" + condition + "}"
}

// scalars are JSON texts; neighbours in kind are likely to be compared.
var scalars = []string{
	`null`, `true`, `false`,
	`0`, `-0`, `0.0`, `-0.0`, `1`, `1.0`, `1e0`, `-1`, `2`, `2.5`, `10`, `1e3`, `1000`,
	`9007199254740992`, `9007199254740993`, `9007199254740992.0`, `9223372036854775807`, `9223372036854775808`,
	`100000000000000000000`, `1e20`, `100000000000000000001`, `-1e20`, `-100000000000000000000`, `1.5e300`,
	`""`, `"a"`, `"A"`, `"b"`, `"B"`, `"ab"`, `"aB"`, `"a b"`, `"a-b"`, `"_"`, `"~"`, `"10"`, `"9"`, `"z"`, `"Z"`, `"1"`,
	`"é"`, `"e\u0301"`, `"e"`, `"E"`, `"É"`, `"ef"`, `"\u0000"`, `"a\u0000"`, `"\u212a"`, `"K"`, `"k"`, `"ß"`, `"ss"`, `"æ"`,
	`"ä"`, `"a\u0308"`, `"å"`, `"\u212b"`, `"a\u200db"`, `"日本"`, `"日"`, `"Ж"`, `"ж"`, `"α"`, `"א"`, `"가"`, `"ガ"`, `"か"`, `"\t"`, `"a\nb"`, `"\r\n"`, `"👨"`, `"👨‍👩"`,
	`"joe"`, `"ann"`, `"Joe"`, `"user:1"`, `"user:2"`, `"tru"`, `"number"`,
}

var (
	names    = []string{"a", "b", "c", "owner", "é", "x.y", "0"}
	fields   = []string{"a", "b", "c", "owner", "a.b", "b.a", "a.0", "b.1", "a.b.c", "c.0.a", "x\\.y", "é", "\\a", "a.+0", "owner.x"}
	metadata = []string{"_id", "_id", "_rev", "_deleted", "_attachments", "_attachments.f.length", "_attachments.f.stub", "_revisions"}
	// IDs are the ids of documents, some of which differ only for bytes.
	IDs      = []string{"a", "A", "b", "user:1", "user:2", "user:é", "user:e\u0301", "é", "e\u0301", "joe:1", "joe:2", "日本", "10", "9", "~"}
	patterns = []string{
		`^a`, `a$`, `.`, `^.$`, `^..$`, `\\w+`, `^\\w+$`, `^\\d+$`, `[a-c]`, `(?i)^A`, `a|b`, `^$`, `é`, `[^a]`, `\\s`, `^(a|b)+$`, `(?=a)`, `a?`, `^[[:alpha:]]+$`,
	}
	types = []string{"null", "boolean", "number", "string", "array", "object", "nothing"}
)

func pick[T any](g *Generator, of []T) T { return of[g.r.IntN(len(of))] }

// Value is a JSON value, nested at most depth times.
func (g *Generator) Value(depth int) string {
	if depth == 0 || g.r.IntN(4) > 0 {
		return pick(g, scalars)
	}
	if g.r.IntN(2) == 0 {
		return g.list(g.r.IntN(4), func() string { return g.Value(depth - 1) })
	}
	return g.object(g.r.IntN(4), depth-1)
}

func (g *Generator) list(n int, element func() string) string {
	each := make([]string, n)
	for i := range each {
		each[i] = element()
	}
	return "[" + strings.Join(each, ",") + "]"
}

func (g *Generator) object(n, depth int) string {
	return "{" + strings.Join(g.members(n, depth), ",") + "}"
}

// members have names that occur once, in any order.
func (g *Generator) members(n, depth int) []string {
	var members []string
	for _, i := range g.r.Perm(len(names))[:n] {
		members = append(members, quote(names[i])+":"+g.Value(depth))
	}
	return members
}

// Body is the members of a document without braces, and without metadata.
func (g *Generator) Body() string {
	return strings.Join(g.members(g.r.IntN(len(names)), 3), ",")
}

// Document is a revision as _bulk_get hands it out.
func (g *Generator) Document() string {
	members := []string{`"_id":` + quote(pick(g, IDs)), `"_rev":"1-` + strings.Repeat("a", 32) + `"`}
	if body := g.Body(); body != "" {
		members = append(members, body)
	}
	if g.r.IntN(8) == 0 {
		members = append(members, `"_deleted":true`)
	}
	if g.r.IntN(8) == 0 {
		members = append(members, `"_attachments":{"f":{"content_type":"text/plain","revpos":1,"digest":"md5-rL0Y20zC+Fzt72VPzMSk2A==","length":3,"stub":true}}`)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// Revision is a revision number n of a database, to be written with new_edits false.
// Every fifth is a conflict of the one before.
func (g *Generator) Revision(n int) string {
	number := n
	if n%5 == 4 {
		number--
	}
	members := []string{fmt.Sprintf(`"_id":%s,"_rev":"1-%032x"`, quote(IDs[number%len(IDs)]+strings.Repeat("x", number/len(IDs))), n)}
	if body := g.Body(); body != "" {
		members = append(members, body)
	}
	if g.r.IntN(6) == 0 {
		members = append(members, `"_deleted":true`)
	}
	if g.r.IntN(6) == 0 {
		kind := pick(g, []string{"text/plain", "image/png"}) // CouchDB compresses the first
		members = append(members, `"_attachments":{"f":{"content_type":"`+kind+`","data":"YWJj"}}`)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// Selector is a selector that CouchDB takes, with few exceptions.
func (g *Generator) Selector() string { return g.selector(3) }

func (g *Generator) selector(depth int) string {
	if depth > 0 {
		switch g.r.IntN(7) {
		case 0:
			return fmt.Sprintf(`{%q:%s}`, pick(g, []string{"$and", "$or", "$nor"}), g.list(g.r.IntN(4), func() string { return g.selector(depth - 1) }))
		case 1:
			return `{"$not":` + g.selector(depth-1) + `}`
		}
	}
	n := 1
	if g.r.IntN(3) == 0 {
		n = 2
	}
	seen := make(map[string]bool)
	var members []string
	for range n {
		field := pick(g, fields)
		if g.r.IntN(6) == 0 {
			field = pick(g, metadata)
		}
		if !seen[field] {
			seen[field] = true
			members = append(members, quote(field)+":"+g.condition(field, depth))
		}
	}
	return "{" + strings.Join(members, ",") + "}"
}

// condition is what follows a field.
func (g *Generator) condition(field string, depth int) string {
	if depth > 0 {
		switch g.r.IntN(12) {
		case 0:
			return fmt.Sprintf(`{%q:%s}`, pick(g, []string{"$elemMatch", "$allMatch", "$keyMapMatch"}), g.inner(field, depth-1))
		case 1:
			return `{"$not":` + g.condition(field, depth-1) + `}`
		case 2:
			return fmt.Sprintf(`{%q:%s}`, pick(g, []string{"$and", "$or"}), g.list(g.r.IntN(3), func() string { return g.condition(field, depth-1) }))
		case 3:
			return g.selector(depth - 1)
		}
	}
	if g.r.IntN(4) == 0 {
		return g.argument(field)
	}
	op := g.operator(field)
	if g.r.IntN(4) == 0 {
		if other := g.operator(field); other[:4] != op[:4] {
			op += "," + other
		}
	}
	return "{" + op + "}"
}

// inner is the selector of an element: a condition or a selector with fields.
func (g *Generator) inner(field string, depth int) string {
	if g.r.IntN(2) == 0 {
		return "{" + g.operator(field) + "}"
	}
	return g.selector(depth)
}

func (g *Generator) argument(field string) string {
	switch field {
	case "_id":
		return quote(pick(g, IDs))
	case "_deleted", "_attachments.f.stub":
		return pick(g, []string{"true", "false"})
	case "_attachments.f.length":
		return pick(g, []string{"3", "3.0", "2"})
	}
	return g.Value(2)
}

func (g *Generator) operator(field string) string {
	argument := func() string { return g.argument(field) }
	switch g.r.IntN(16) {
	case 0, 1, 2, 3, 4, 5:
		return fmt.Sprintf(`%q:%s`, pick(g, []string{"$lt", "$lte", "$eq", "$ne", "$gte", "$gt"}), argument())
	case 6, 7, 8:
		return fmt.Sprintf(`%q:%s`, pick(g, []string{"$in", "$nin"}), g.list(g.r.IntN(4), argument))
	case 9:
		return `"$all":` + g.list(g.r.IntN(3), argument)
	case 10:
		return `"$exists":` + pick(g, []string{"true", "false"})
	case 11:
		return `"$type":` + quote(pick(g, types))
	case 12:
		return fmt.Sprintf(`"$mod":[%s,%s]`, pick(g, []string{"1", "2", "-3", "10", "100000000000000000000"}), pick(g, []string{"0", "1", "-1", "2"}))
	case 13:
		return `"$size":` + pick(g, []string{"0", "1", "2", "100000000000000000000"})
	case 14:
		return `"$regex":"` + pick(g, patterns) + `"`
	default:
		return `"$beginsWith":` + pick(g, []string{`""`, `"a"`, `"e"`, `"user:"`, `"é"`, `"joe"`, `"\r"`, `"user:e"`, `"日"`, `"👨"`})
	}
}

func quote(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // cannot be: s is a string
	}
	return string(b)
}
