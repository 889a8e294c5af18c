package main

import (
	"fmt"
	"net/url"

	"millrace/services/millrace/shop"
)

// hint is something to try, and the command for it.
type hint struct{ what, command string }

// hints says where to look next.
func (s *demo) hints() {
	source, target := s.ponds.source.String(), s.ponds.target.String()
	hints := []hint{
		{"add a document at the source", fmt.Sprintf(`curl -X PUT %s/hello -d '{"type": "greeting"}'`, source)},
		{"see it at the target", fmt.Sprintf("curl %s/hello", target)},
		{"follow the target's changes", fmt.Sprintf("curl '%s/_changes?feed=continuous&since=now'", target)},
	}
	hints = append(hints, s.examples(target)...)
	hints = append(hints,
		hint{"compare again", fmt.Sprintf("millrace verify --bodies %s %s", source, target)},
		hint{"replicate it elsewhere", fmt.Sprintf("millrace replicate --create-target %s http://USER:PASSWORD@HOST:5984/%s", target, demoDatabase)},
		hint{"see every batch in Jaeger", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 millrace demo"},
	)
	fmt.Fprintln(s.out, "\nWhere to look next, in another terminal:")
	for _, h := range hints {
		fmt.Fprintf(s.out, "  %s:\n    %s\n", h.what, h.command)
	}
	fmt.Fprintln(s.out, "\nWhat you add at the source is replicated, until Ctrl-C.")
}

// examples are documents worth looking at, where the shop is large enough to have them.
func (s *demo) examples(db string) (hints []hint) {
	if d, found := s.shop.Find(func(d shop.Document) bool { return d.Kind == shop.Conflict }); found {
		hints = append(hints, hint{"see a conflict", fmt.Sprintf("curl '%s/%s?conflicts=true'", db, url.PathEscape(d.ID))})
	}
	if d, found := s.shop.Find(func(d shop.Document) bool { return d.Attachments > 0 }); found {
		hints = append(hints, hint{"look at a photo", fmt.Sprintf("curl -o photo.png %s/%s/photo.png", db, url.PathEscape(d.ID))})
	}
	return hints
}
