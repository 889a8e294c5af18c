package millpond

import (
	"context"
	"strings"

	"millrace/pkg/queryserver"
)

// useFunctions makes the database's validation functions ready, until done is called.
func (e *editor) useFunctions(ctx context.Context) (done func(), err error) {
	e.functions = e.server.validators.named(e.name)
	done, err = e.functions.use(ctx, e.db)
	if err != nil || e.functions.none() {
		return done, err
	}
	if e.secObj, err = securityOf(ctx, e.db); err != nil {
		done()
		return nil, err
	}
	return done, nil
}

// validate asks the validation functions, and Options.Validate, whether a document
// may be stored. old is the revision that it replaces, in the document's tree as it
// is; nil if there is none. Design documents are not validated, as in CouchDB.
func (e editor) validate(doc *incoming, content *Revision, tree Tree, old *Node) error {
	custom := e.server.opts.Validate
	if strings.HasPrefix(doc.id, designPrefix) || custom == nil && e.functions.none() {
		return nil
	}
	r := renderer{revs: true}
	text := r.appendRevision(nil, doc.id, doc.path, doc.deleted, content)
	text, err := r.appendAttachments(text, doc.path, doc.beforeStored(content))
	if err != nil {
		return err
	}
	text = append(text, '}')
	if custom != nil {
		if err := custom(e.name, doc.id, text); err != nil {
			return err
		}
	}
	if e.functions.none() {
		return nil
	}
	call := queryserver.Call{NewDoc: text, UserCtx: e.user.context(e.name), SecObj: e.secObj}
	if old != nil {
		if call.OldDoc, err = r.appendDoc(nil, &Doc{ID: doc.id, Tree: tree}, old, false); err != nil {
			return err
		}
	}
	return e.functions.validate(call)
}

// beforeStored is how a function sees the attachments: what came inline has neither
// digest nor, if it is new, revpos yet.
func (doc *incoming) beforeStored(content *Revision) []*Attachment {
	if len(content.Attachments) == 0 {
		return nil
	}
	seen := make([]*Attachment, len(content.Attachments))
	for i, att := range content.Attachments {
		if doc.atts[i].stored == nil { // a stub
			seen[i] = att
			continue
		}
		shown := *att
		shown.RevPos, shown.Digest = 0, doc.atts[i].Digest
		if revpos := doc.atts[i].RevPos; revpos != nil {
			shown.RevPos = *revpos
		}
		seen[i] = &shown
	}
	return seen
}

// context is the userCtx of validation functions.
func (u user) context(database string) []byte {
	dst := appendString([]byte(`{"db":`), database)
	dst = append(dst, `,"name":`...)
	if u.name == "" {
		dst = append(dst, "null"...)
	} else {
		dst = appendString(dst, u.name)
	}
	dst = append(dst, `,"roles":`...)
	return append(appendStrings(dst, u.roles), '}')
}
