package mango

import "strings"

// stubs brings the attachments of a document into the form in which a filter sees
// them: content_type, revpos, digest, length and stub, and headers if there are any.
func stubs(attachments value) value {
	atts, ok := attachments.(object)
	if !ok {
		return attachments
	}
	shown := make(object, len(atts))
	for i, a := range atts {
		shown[i] = pair{a.name, stub(a.value)}
	}
	return shown
}

func stub(attachment value) value {
	att, ok := attachment.(object)
	if !ok {
		return attachment
	}
	shown := make(object, 0, 6)
	copyMember := func(name string) {
		if v, ok := att.get(name); ok {
			shown = append(shown, pair{name, v})
		}
	}
	copyMember("content_type")
	copyMember("revpos")
	copyMember("digest")
	if _, ok := att.get("length"); ok {
		copyMember("length")
	} else if data, ok := att.get("data"); ok {
		if text, ok := data.(string); ok {
			shown = append(shown, pair{"length", base64Length(text)})
		}
	}
	shown = append(shown, pair{"stub", true})
	copyMember("headers")
	return shown
}

// base64Length is the length of what the text encodes.
func base64Length(text string) int64 {
	digits := len(strings.TrimRight(text, "="))
	return int64(digits) * 3 / 4
}
