package mango

import (
	"errors"
	"strings"
)

// class handles a character class, in which .NET subtracts classes, and PCRE has
// named ones.
func (p *pcre) class() error {
	p.take(1)
	if strings.HasPrefix(p.in, "^") {
		p.take(1)
	}
	for first := true; p.in != ""; first = false {
		switch c := p.in[0]; {
		case c == ']' && !first:
			p.take(1)
			return nil
		case c == '\\':
			if err := p.escapeInClass(); err != nil {
				return err
			}
		case c == '[':
			if err := p.named(); err != nil {
				return err
			}
		case c == '-':
			p.take(1)
		default:
			p.quoted(0)
		}
	}
	return errors.New("class without end")
}

// named handles [:alpha:] and its like, and a bracket that stands for itself.
func (p *pcre) named() error {
	if strings.HasPrefix(p.in, "[:") {
		if name, _, ended := strings.Cut(p.in[2:], ":]"); ended && isName(name) {
			set, known := byteSets[name]
			if !known || len(name) == 1 {
				return errors.New("no such class: " + name)
			}
			p.replace(len(name)+4, set)
			return nil
		}
	}
	p.replace(1, `\x5b`)
	return nil
}

func isName(s string) bool {
	s = strings.TrimPrefix(s, "^")
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == ""
}

func (p *pcre) escapeInClass() error {
	if len(p.in) == 1 {
		return errors.New("backslash at the end")
	}
	switch c := p.in[1]; c {
	case 'w', 's', 'd', 'h', 'v', 'W', 'S', 'D', 'H', 'V':
		p.replace(2, byteSets[string(c)])
	case 'x', 'o':
		return p.number()
	case 'b':
		p.replace(2, `\x08`)
	case 'Q':
		p.literal()
	case 'E':
		p.replace(2, "")
	case 'p', 'P', 'a', 'e', 'f', 'n', 'r', 't', 'c', '0', '1', '2', '3', '4', '5', '6', '7':
		p.take(2)
	case 'B', 'N', 'R', 'X', 'L', 'l', 'U', 'u', 'C': // refused by PCRE
		return errors.New("not allowed in a class")
	default:
		p.quoted(1)
	}
	return nil
}
