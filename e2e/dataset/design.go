package dataset

// designs are design documents. The validating one accepts everything.
func designs(g generator) []document {
	docs := []document{
		{id: "_design/views", start: 1, history: g.hashes(1), fields: `"views":{"by_owner":{` +
			`"map":"function (doc) { if (doc.owner) { emit(doc.owner, 1); } }","reduce":"_count"}},"language":"javascript"`},
		{id: "_design/filters", start: 2, history: g.hashes(2), fields: `"filters":{` +
			`"owner":"function (doc, req) { return doc.owner === req.query.owner; }"}`},
		{id: "_design/a/b c+d%\u00e9", start: 1, history: g.hashes(1), fields: `"v":1`},
		{id: "_design/deleted", start: 2, history: g.hashes(2), deleted: true},
		{id: "_design/attached", start: 1, history: g.hashes(1), files: []file{
			{name: "index.html", contentType: "text/html", content: g.text(3000)},
		}},
	}
	docs = append(docs, conflict(g, "_design/conflict", 2, 0)...)
	return append(docs, document{
		id: "_design/accept", start: 1, history: g.hashes(1),
		fields: `"validate_doc_update":"function (newDoc, oldDoc, userCtx, secObj) { return; }"`,
	})
}
