package verify

import (
	"context"
	"fmt"
	"net/url"
	"strings"
)

// explain says of the bodies that the report lists where they differ. While
// comparing, no bodies are kept, so these few are read once more.
func (c *comparison) explain(ctx context.Context) error {
	for i := range c.tally.shown {
		d := &c.tally.shown[i]
		if d.Kind == Body {
			if err := c.explainBody(ctx, d); err != nil {
				return err
			}
		}
		d.Where, d.A, d.B = shorten(d.Where), shorten(d.A), shorten(d.B)
	}
	return nil
}

// explainBody leaves the difference as it is if a leaf is there no longer.
func (c *comparison) explainBody(ctx context.Context, d *Difference) error {
	query := url.Values{"rev": d.Revs}
	docA, err := c.a.db.Get(ctx, d.ID, query)
	if err == nil {
		var docB []byte
		if docB, err = c.b.db.Get(ctx, d.ID, query); err == nil {
			return d.locate(docA, docB)
		}
	}
	return context.Cause(ctx)
}

func (d *Difference) locate(docA, docB []byte) error {
	at, ok, err := locate(docA, docB)
	if err != nil {
		return fmt.Errorf("compare %q %s: %w", d.ID, d.Revs[0], err)
	}
	if ok {
		d.Where, d.A, d.B = at.pointer, string(at.a), string(at.b)
	}
	return nil
}

// longest is how many bytes of a value a report has.
const longest = 200

func shorten(text string) string {
	if len(text) <= longest {
		return text
	}
	return fmt.Sprintf("%s... (%d bytes)", strings.ToValidUTF8(text[:longest], ""), len(text))
}
