package mangotest

import "strings"

var (
	atoms = []string{
		`a`, `b`, `c`, `B`, `.`, `\.`, `é`, ` `, `-`, `_`, `0`, `\n`, `\r`, `\t`, `\w`, `\W`, `\d`, `\D`, `\s`, `\S`, `\h`, `\H`, `\v`, `\V`, `\N`, `\R`, `\x41`, `\x{42}`, `\xe9`, `\_`, `\-`, `\@`, `\141`, `\0`,
		`[abc]`, `[^abc]`, `[a-c]`, `[]a]`, `[^]a]`, `[a\]b]`, `[\w-]`, `[^\w]`, `[\d\s]`, `[\W_]`, `[[:alpha:]]`, `[[:^alpha:]]`, `[^[:digit:]]`, `[[:punct:]a]`, `[[:upper:]]`, `[a-c-[b]]`, `[[a]`, `[\x41-\x43]`, `[é]`, `[\Qa-c\E]`, `[\h]`, `[\b]`, `[a-\d]`,
		`\Qa.b\E`, `\p{L}`, `\P{L}`, `\pN`, `\X`, `\C`, `\K`,
	}
	asserts     = []string{`^`, `$`, `\A`, `\z`, `\Z`, `\b`, `\B`, `(?=a)`, `(?!a)`, `(?<=a)`, `(?<!b)`, `(?#note)`, `(?i)`, `(?s)`, `(?m)`, `(?-i)`}
	quantifiers = []string{`*`, `+`, `?`, `*?`, `+?`, `??`, `*+`, `++`, `?+`, `{2}`, `{1,2}`, `{2,}`, `{,2}`, `{1,2}?`, `{1,2}+`, `{`, `{x}`}
	groups      = []string{`(`, `(`, `(?:`, `(?i:`, `(?>`, `(?P<n>`, `(?<n>`, `(?'n'`, `(?=`, `(?!`}
	references  = []string{`\1`, `\2`, `\g1`, `\g{1}`, `\g{-1}`, `\k<n>`, `\k{n}`, `\k'n'`, `(?P=n)`, `\10`}
	// Subjects are what patterns are tried on.
	Subjects = []string{
		"", "a", "b", "A", "B", "ab", "aB", "abc", "aab", "abab", "aa", "aaa", "a.b", "a b", "a-b", "a_b", "a\nb", "a\n", "\n", "\r\n", "\t", " ", "0", "10", "a1", "é", "É", "éa", "日本", "a]", "[a]", "a{,2}", "a{x}",
		"-", "_", "@", "\u00a0", "µ", "ß", "\u0000", "\b", "cab", "bca", "a,b", "(a)", "a\\b", "K", "k", "ÿ", "×",
	}
)

// Pattern is a regular expression, which may be none.
func (g *Generator) Pattern() string { return g.pattern(2) }

func (g *Generator) pattern(depth int) string {
	var b strings.Builder
	for range 1 + g.r.IntN(3) {
		switch n := g.r.IntN(12); {
		case n == 0 && depth > 0:
			b.WriteString(g.pattern(depth-1) + "|" + g.pattern(depth-1))
		case n <= 2 && depth > 0:
			b.WriteString(pick(g, groups) + g.pattern(depth-1) + ")")
			b.WriteString(g.quantifier())
		case n == 3:
			b.WriteString(pick(g, references))
		case n <= 5:
			b.WriteString(pick(g, asserts))
		default:
			b.WriteString(pick(g, atoms) + g.quantifier())
		}
	}
	return b.String()
}

func (g *Generator) quantifier() string {
	if g.r.IntN(3) > 0 {
		return ""
	}
	return pick(g, quantifiers)
}
