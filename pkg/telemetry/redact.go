package telemetry

import "strings"

// mask is what CouchDB itself shows instead of a password in a URL.
const mask = "*****"

// Redact replaces the userinfo of every URL in text: "http://adm:pass@host/db"
// becomes "http://*****@host/db". Nothing else changes, and text without
// userinfo is returned as it is, without an allocation.
//
// The user's name goes too: with some services it is an access token. A URL
// whose password holds an unescaped slash is no longer recognised by its form;
// for that reason an authority with a port that is not a number is masked up to
// the end of the word.
func Redact(text string) string {
	from, to, ok := nextUserinfo(text, 0)
	if !ok {
		return text
	}
	var b strings.Builder
	b.Grow(len(text))
	done := 0
	for ok {
		b.WriteString(text[done:from])
		b.WriteString(mask)
		done = to
		from, to, ok = nextUserinfo(text, to)
	}
	b.WriteString(text[done:])
	return b.String()
}

// nextUserinfo finds the first userinfo at or after start: text[from:to], with
// the "@" left standing after it.
func nextUserinfo(text string, start int) (from, to int, ok bool) {
	for {
		i := strings.Index(text[start:], "://")
		if i < 0 {
			return 0, 0, false
		}
		from = start + i + len("://")
		end := from + authorityLen(text[from:])
		if at := strings.LastIndexByte(text[from:end], '@'); at >= 0 {
			return from, from + at, true
		}
		if word := from + wordLen(text[from:]); word > end && badPort(text[from:end]) {
			if at := strings.LastIndexByte(text[from:word], '@'); at >= 0 {
				return from, from + at, true
			}
		}
		start = end
	}
}

func authorityLen(s string) int {
	if i := strings.IndexAny(s[:wordLen(s)], "/?#"); i >= 0 {
		return i
	}
	return wordLen(s)
}

// wordLen is the length of s up to a character that no URL contains.
func wordLen(s string) int {
	if i := strings.IndexAny(s, " \t\r\n\"<>`"); i >= 0 {
		return i
	}
	return len(s)
}

// badPort says whether authority, which has no "@", ends in something after a
// colon that is not a port: then it is the beginning of "user:password".
func badPort(authority string) bool {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.HasSuffix(authority, "]") {
		return false
	}
	return strings.Trim(authority[i+1:], "0123456789") != ""
}

// secretNames are the names, in lower case, of attributes and query parameters
// whose value is never shown.
var secretNames = map[string]bool{
	"authorization":       true,
	"proxy-authorization": true,
	"cookie":              true,
	"set-cookie":          true,
	"password":            true,
	"passwd":              true,
	"secret":              true,
	"token":               true,
	"access_token":        true,
	"api_key":             true,
	"apikey":              true,
	"iam_api_key":         true,
	"sig":                 true,
	"signature":           true,
	"x-amz-signature":     true,
}

func secretName(name string) bool { return secretNames[strings.ToLower(name)] }
