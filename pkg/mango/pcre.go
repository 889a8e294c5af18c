package mango

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sets of bytes in the tables of Erlang's PCRE, which are those of Latin-1, in the
// syntax of a character class.
var byteSets = map[string]string{
	"w":      `0-9A-Z_a-z\xaa\xb5\xba\xc0-\xd6\xd8-\xf6\xf8-\xff`,
	"s":      `\x09-\x0d\x20`,
	"d":      `0-9`,
	"h":      `\x09\x20\xa0`,
	"v":      `\x0a-\x0d\x85`,
	"W":      `\x00-/:-@\x5b-\x5e\x60\x7b-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\xd7\xf7`,
	"S":      `\x00-\x08\x0e-\x1f\x21-\xff`,
	"D":      `\x00-/:-\xff`,
	"H":      `\x00-\x08\x0a-\x1f\x21-\x9f\xa1-\xff`,
	"V":      `\x00-\x09\x0e-\x84\x86-\xff`,
	"alpha":  `A-Za-z\xaa\xb5\xba\xc0-\xd6\xd8-\xf6\xf8-\xff`,
	"alnum":  `0-9A-Za-z\xaa\xb5\xba\xc0-\xd6\xd8-\xf6\xf8-\xff`,
	"upper":  `A-Z\xc0-\xd6\xd8-\xde`,
	"lower":  `a-z\xaa\xb5\xba\xdf-\xf6\xf8-\xff`,
	"punct":  `\x21-/:-@\x5b-\x60\x7b-\x7e\xa0-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\xd7\xf7`,
	"space":  `\x09-\x0d\x20`,
	"graph":  `\x21-\x7e\xa0-\xff`,
	"print":  `\x20-\x7e\xa0-\xff`,
	"cntrl":  `\x00-\x1f\x7f-\x9f`,
	"blank":  `\x09\x20`,
	"xdigit": `0-9A-Fa-f`,
	"word":   `0-9A-Z_a-z\xaa\xb5\xba\xc0-\xd6\xd8-\xf6\xf8-\xff`,
	"digit":  `0-9`,
	"ascii":  `\x00-\x7f`,
	// negated
	"^alpha":  `\x00-\x40\x5b-\x60\x7b-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\xd7\xf7`,
	"^alnum":  `\x00-/:-\x40\x5b-\x60\x7b-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\xd7\xf7`,
	"^upper":  `\x00-\x40\x5b-\xbf\xd7\xdf-\xff`,
	"^lower":  `\x00-\x60\x7b-\xa9\xab-\xb4\xb6-\xb9\xbb-\xde\xf7`,
	"^punct":  `\x00-\x200-9A-Za-z\x7f-\x9f\xaa\xb5\xba\xc0-\xd6\xd8-\xf6\xf8-\xff`,
	"^space":  `\x00-\x08\x0e-\x1f\x21-\xff`,
	"^graph":  `\x00-\x20\x7f-\x9f`,
	"^print":  `\x00-\x1f\x7f-\x9f`,
	"^cntrl":  `\x20-\x7e\xa0-\xff`,
	"^blank":  `\x00-\x08\x0a-\x1f\x21-\xff`,
	"^xdigit": `\x00-/:-\x40G-\x60g-\xff`,
	"^word":   `\x00-/:-@\x5b-\x5e\x60\x7b-\xa9\xab-\xb4\xb6-\xb9\xbb-\xbf\xd7\xf7`,
	"^digit":  `\x00-/:-\xff`,
	"^ascii":  `\x80-\xff`,
}

// errNoCounterpart is for what PCRE has and regexp2 has not: recursion, subroutine
// calls, branch reset and verbs.
var errNoCounterpart = errors.New("not supported in a regular expression")

// pcre rewrites a pattern of PCRE, of characters up to 255, into the syntax of
// regexp2 (that of .NET) with the same meaning. What is the same in both, mistakes
// included, passes through.
type pcre struct {
	in     string
	out    strings.Builder
	groups int // opened so far
	names  []string
	resets bool // has (?|, in which the groups of each branch have the same numbers
	refers bool // to a group
}

func translate(pattern string) (string, error) {
	p := &pcre{in: pattern}
	for p.in != "" {
		if err := p.step(); err != nil {
			return "", err
		}
	}
	if p.resets && p.refers {
		return "", errNoCounterpart
	}
	return p.out.String(), nil
}

// take moves n bytes over as they are.
func (p *pcre) take(n int) {
	p.out.WriteString(p.in[:n])
	p.in = p.in[n:]
}

// replace writes text instead of n bytes.
func (p *pcre) replace(n int, text string) {
	p.out.WriteString(text)
	p.in = p.in[n:]
}

func (p *pcre) step() error {
	switch p.in[0] {
	case '\\':
		return p.escape()
	case '[':
		return p.class()
	case '(':
		return p.group()
	}
	p.take(1)
	return nil
}

// group handles what follows an opening parenthesis.
func (p *pcre) group() error {
	rest := p.in[1:]
	switch {
	case strings.HasPrefix(rest, "?#"):
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return errors.New("comment without end")
		}
		p.take(end + 2)
		return nil
	case strings.HasPrefix(rest, "?P<"):
		p.replace(len("(?P<"), "(?<")
		return p.name('>')
	case strings.HasPrefix(rest, "?|"):
		p.resets = true
		p.replace(len("(?|"), "(?:")
		return nil
	case strings.HasPrefix(rest, "?P="):
		name, _, ended := strings.Cut(rest[3:], ")")
		if !ended {
			return errors.New("reference without end")
		}
		p.refer(len("(?P=)")+len(name), name)
		return nil
	case strings.HasPrefix(rest, "*"), strings.HasPrefix(rest, "?P>"),
		strings.HasPrefix(rest, "?R"), strings.HasPrefix(rest, "?&"), strings.HasPrefix(rest, "?C"),
		strings.HasPrefix(rest, "?+"), len(rest) > 1 && rest[0] == '?' && '0' <= rest[1] && rest[1] <= '9',
		len(rest) > 2 && strings.HasPrefix(rest, "?-") && '0' <= rest[2] && rest[2] <= '9':
		return errNoCounterpart
	case strings.HasPrefix(rest, "?'"):
		p.take(len("(?'"))
		return p.name('\'')
	case strings.HasPrefix(rest, "?<") && !strings.HasPrefix(rest, "?<=") && !strings.HasPrefix(rest, "?<!"):
		p.take(len("(?<"))
		return p.name('>')
	case strings.HasPrefix(rest, "?("):
		p.refers = true
	case !strings.HasPrefix(rest, "?"):
		p.groups++
	}
	p.take(1)
	return nil
}

// name handles the name of a group, which PCRE takes once and .NET more often.
func (p *pcre) name(end byte) error {
	n := strings.IndexByte(p.in, end)
	if n < 0 || slices.Contains(p.names, p.in[:n]) {
		return errors.New("bad name of a group")
	}
	p.groups++
	p.names = append(p.names, p.in[:n])
	p.take(n + 1)
	return nil
}

// refer writes a reference to a group instead of n bytes.
func (p *pcre) refer(n int, group string) {
	p.refers = true
	p.replace(n, `(?:\k<`+group+">)")
}

// escape handles a backslash outside a class.
func (p *pcre) escape() error {
	if len(p.in) == 1 {
		return errors.New("backslash at the end")
	}
	switch c := p.in[1]; c {
	case 'w', 's', 'd', 'h', 'v', 'W', 'S', 'D', 'H', 'V':
		p.replace(2, "["+byteSets[string(c)]+"]")
	case 'N':
		if strings.HasPrefix(p.in, `\N{`) && !isQuantifier(p.in[2:]) {
			return errNoCounterpart
		}
		p.replace(2, `[^\n]`)
	case 'C':
		p.replace(2, `[\x00-\xff]`)
	case 'K': // says where the match begins, not whether there is one
		if isQuantifier(p.in[2:]) {
			return errors.New("nothing to repeat")
		}
		p.replace(2, "")
	case 'Q':
		p.literal()
	case 'E':
		p.replace(2, "")
	case 'k':
		return p.referByName()
	case 'x', 'o':
		return p.number()
	case 'g':
		return p.reference()
	case 'A', 'b', 'B', 'G', 'z', 'Z', 'R', 'X', 'p', 'P', 'a', 'e', 'f', 'n', 'r', 't', 'c', '0':
		p.take(2)
	case '1', '2', '3', '4', '5', '6', '7', '8', '9':
		p.refers = true
		p.take(2)
	case 'L', 'l', 'U', 'u': // refused by PCRE
		return fmt.Errorf("\\%c is not allowed", c)
	default:
		p.quoted(1)
	}
	return nil
}

// quoted writes the character behind n bytes so that it stands for itself.
func (p *pcre) quoted(n int) {
	r, size := utf8.DecodeRuneInString(p.in[n:])
	p.replace(n+size, quoteByte(byte(r)))
}

// literal handles \Q...\E.
func (p *pcre) literal() {
	text, rest, _ := strings.Cut(p.in[2:], `\E`)
	for _, r := range text {
		p.out.WriteString(quoteByte(byte(r)))
	}
	p.in = rest
}

// number handles \x with any number of digits, or in braces, and \o{...}.
func (p *pcre) number() error {
	base, digits, length := 16, "", 0
	if strings.HasPrefix(p.in[2:], "{") {
		inner, _, ended := strings.Cut(p.in[3:], "}")
		if !ended {
			return errors.New("number without end")
		}
		digits, length = inner, len(inner)+4
	} else if p.in[1] == 'x' {
		n := 0
		for n < 2 && 2+n < len(p.in) && isHex(p.in[2+n]) {
			n++
		}
		digits, length = "0"+p.in[2:2+n], 2+n
	}
	if p.in[1] == 'o' {
		base = 8
	}
	code, err := strconv.ParseUint(digits, base, 32)
	if err != nil || code > 0xff {
		return errors.New("no such character")
	}
	p.replace(length, quoteByte(byte(code)))
	return nil
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// reference handles \gN, \g{N}, \g{-N} and \g{name}.
func (p *pcre) reference() error {
	rest := p.in[2:]
	name, length := "", 0
	if strings.HasPrefix(rest, "{") {
		inner, _, ended := strings.Cut(rest[1:], "}")
		if !ended {
			return errors.New("reference without end")
		}
		name, length = inner, len(inner)+4
	} else {
		n := 0
		for n < len(rest) && (n == 0 && rest[n] == '-' || '0' <= rest[n] && rest[n] <= '9') {
			n++
		}
		name, length = rest[:n], n+2
	}
	if name == "" {
		return errNoCounterpart // \g<name> calls a subroutine
	}
	if n, err := strconv.Atoi(name); err == nil && n < 0 {
		if n += p.groups + 1; n < 1 {
			return errors.New("no such group")
		}
		name = strconv.Itoa(n)
	}
	p.refer(length, name)
	return nil
}

// referByName handles \k<name>, \k'name' and \k{name}.
func (p *pcre) referByName() error {
	if len(p.in) < 3 {
		return errors.New("reference without name")
	}
	closing, ok := map[byte]string{'<': ">", '\'': "'", '{': "}"}[p.in[2]]
	name, _, ended := strings.Cut(p.in[3:], closing)
	if !ok || !ended || name == "" {
		return errors.New("reference without name")
	}
	p.refer(len(`\k<>`)+len(name), name)
	return nil
}

// isQuantifier says whether a pattern begins with a quantifier.
func isQuantifier(s string) bool {
	if s == "" || s[0] != '{' {
		return s != "" && strings.IndexByte("*+?", s[0]) >= 0
	}
	inner, _, ended := strings.Cut(s[1:], "}")
	from, to, _ := strings.Cut(inner, ",")
	return ended && from != "" && strings.Trim(from+to, "0123456789") == ""
}

// quoteByte writes a character so that it stands for itself anywhere.
func quoteByte(c byte) string {
	if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' {
		return string(rune(c))
	}
	return fmt.Sprintf(`\x%02x`, c)
}
