package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"millrace/pkg/couch"
	"millrace/pkg/millpond"
)

func TestEmptyDatabasesAreTheSame(t *testing.T) {
	onPairs(t, func(t *testing.T, a, b *couch.DB) {
		report := compared(t, a, b, Options{Bodies: true})
		require.True(t, report.Same, report)
		require.Zero(t, report.A.Documents)
		text, err := json.Marshal(report)
		require.NoError(t, err)
		require.Contains(t, string(text), `"differences":[]`)
	})
}

func TestCopiesAreTheSame(t *testing.T) {
	onPairs(t, func(t *testing.T, a, b *couch.DB) {
		for _, db := range []*couch.DB{a, b} {
			write(t, db,
				doc("plain", 1, `"n":0.1000`),
				after("conflict", `"x":1`, 1, 9), after("conflict", `"x":2`, 2, 9), after("conflict", `"_deleted":true`, 3, 9),
				after("dead", `"_deleted":true`, 1, 9),
				doc("_design/d", 1, `"views":{}`),
				doc("é/+ %\n", 1, ""),
				doc("attached", 1, `"_attachments":{"a.txt":{"content_type":"image/png","revpos":1,"data":"AAAA"},"b":{"content_type":"image/png","revpos":1,"data":"AQID"}}`),
			)
		}
		// In another order, and with a local document that does not count.
		_, err := a.PutLocal(t.Context(), "mine", map[string]any{})
		require.NoError(t, err)
		report := compared(t, a, b, Options{Bodies: true})
		require.True(t, report.Same, report)
		require.EqualValues(t, 6, report.MatchingDocuments)
		require.EqualValues(t, 8, report.MatchingLeaves)
		require.EqualValues(t, 8, report.B.Leaves)
		require.False(t, report.Moved)
	})
}

// planted is what two databases hold of a document, and what is to be found.
type planted struct {
	name string
	a, b []string
	want []Difference
}

var plantings = []planted{
	{
		name: "document is missing at B",
		a:    []string{after("d", "", 1, 9), after("d", "", 2, 9)},
		want: []Difference{{ID: "d", Kind: MissingDocument, Side: B, Revs: []string{rev(2, 1), rev(2, 2)}}},
	},
	{
		name: "tombstone is missing at A",
		b:    []string{after("d", `"_deleted":true`, 1, 9)},
		want: []Difference{{ID: "d", Kind: MissingDocument, Side: A, Revs: []string{rev(2, 1)}}},
	},
	{
		name: "each lacks a leaf",
		a:    []string{after("d", "", 1, 9), after("d", "", 3, 9)},
		b:    []string{after("d", "", 2, 9), after("d", "", 3, 9)},
		want: []Difference{
			{ID: "d", Kind: MissingLeaf, Side: B, Revs: []string{rev(2, 1)}},
			{ID: "d", Kind: MissingLeaf, Side: A, Revs: []string{rev(2, 2)}},
		},
	},
	{
		name: "an update and a deletion have not arrived",
		a:    []string{after("d", `"_deleted":true`, 2, 1, 9)},
		b:    []string{after("d", "", 1, 9)},
		want: []Difference{
			{ID: "d", Kind: WinnerDeleted, A: "true", B: "false"},
			{ID: "d", Kind: MissingLeaf, Side: A, Revs: []string{rev(2, 1)}},
			{ID: "d", Kind: MissingLeaf, Side: B, Revs: []string{rev(3, 2)}},
		},
	},
	{
		name: "winner is a tombstone on one side",
		a:    []string{doc("d", 1, `"_deleted":true`)},
		b:    []string{doc("d", 1, "")},
		want: []Difference{
			{ID: "d", Kind: WinnerDeleted, A: "true", B: "false"},
			{ID: "d", Kind: LeafDeleted, Revs: []string{rev(1, 1)}, A: "true", B: "false"},
		},
	},
	{
		name: "losing leaf is a tombstone on one side",
		a:    []string{after("d", "", 5, 9), after("d", `"_deleted":true`, 4, 9)},
		b:    []string{after("d", "", 5, 9), after("d", "", 4, 9)},
		want: []Difference{{ID: "d", Kind: LeafDeleted, Revs: []string{rev(2, 4)}, A: "true", B: "false"}},
	},
	{
		name: "body of a losing leaf differs",
		a:    []string{after("d", `"x":{"y":[1,{"z":1.5}]}`, 4, 9), after("d", "", 5, 9)},
		b:    []string{after("d", `"x":{"y":[1,{"z":1.51}]}`, 4, 9), after("d", "", 5, 9)},
		want: []Difference{{ID: "d", Kind: Body, Revs: []string{rev(2, 4)}, Where: "/x/y/1/z", A: "1.5", B: "1.51"}},
	},
	{
		name: "body of a tombstone differs",
		a:    []string{after("d", `"_deleted":true,"why":"a"`, 4, 9)},
		b:    []string{after("d", `"_deleted":true`, 4, 9)},
		want: []Difference{{ID: "d", Kind: Body, Revs: []string{rev(2, 4)}, Where: "/why", A: `"a"`}},
	},
	{
		name: "history differs",
		a:    []string{after("d", "", 3, 2, 1)},
		b:    []string{after("d", "", 3, 2, 8)},
		want: []Difference{{ID: "d", Kind: History, Revs: []string{rev(3, 3)}, A: rev(1, 1), B: rev(1, 8)}},
	},
	{
		name: "attachments differ",
		a:    []string{doc("d", 1, `"_attachments":{"a":{"content_type":"image/png","revpos":1,"data":"AAAA"},"b":{"content_type":"image/png","revpos":1,"data":"AAAA"}}`)},
		b:    []string{doc("d", 1, `"_attachments":{"a":{"content_type":"image/gif","revpos":1,"data":"AAAB"},"c":{"content_type":"image/png","revpos":1,"data":"AAAA"}}`)},
		want: []Difference{
			{
				ID: "d", Kind: Attachment, Revs: []string{rev(1, 1)}, Where: "a",
				A: `"image/png", 3 bytes, md5-aT6a+E09/MceZA4AW9xeLg==, revpos 1`,
				B: `"image/gif", 3 bytes, md5-OA4eVd9WAP5n7nTGZ8J6rg==, revpos 1`,
			},
			{ID: "d", Kind: Attachment, Revs: []string{rev(1, 1)}, Where: "b", A: "present"},
			{ID: "d", Kind: Attachment, Revs: []string{rev(1, 1)}, Where: "c", B: "present"},
		},
	},
}

func TestEachKindOfDifferenceIsFound(t *testing.T) {
	for _, p := range plantings {
		t.Run(p.name, func(t *testing.T) {
			onPairs(t, func(t *testing.T, a, b *couch.DB) {
				for i, docs := range [][]string{p.a, p.b} {
					db := []*couch.DB{a, b}[i]
					write(t, db, doc("before", 1, ""), doc("same", 1, ""))
					if len(docs) > 0 {
						write(t, db, docs...)
					}
				}
				report := compared(t, a, b, Options{Bodies: true})
				require.Equal(t, p.want, report.Differences)
				require.False(t, report.Same)
				require.EqualValues(t, len(p.want), report.DifferenceCount)
				require.EqualValues(t, 2, report.MatchingDocuments)

				again := compared(t, a, b, Options{Bodies: true, Settle: true, Rechecks: 1})
				require.Equal(t, 1, again.Rechecks)
				again.Rechecks = 0
				require.Equal(t, report, again, "a second look, by other requests, sees the same")
			})
		})
	}
}

func TestCountsAddUp(t *testing.T) {
	a, b := database(t, newPond(t).url), database(t, newPond(t).url)
	for i, p := range plantings {
		for side, docs := range [][]string{p.a, p.b} {
			for _, d := range docs {
				write(t, []*couch.DB{a, b}[side], fmt.Sprintf(`{"_id":"d%02d"%s`, i, d[len(`{"_id":"d"`):]))
			}
		}
	}
	report := compared(t, a, b, Options{Bodies: true, Shown: 3})
	require.Equal(t, Counts{
		MatchingDocuments: 0, MatchingLeaves: 3,
		WinnerDeletedDiffers: 2, LeafDeletedDiffers: 2, BodyDiffers: 2, HistoryDiffers: 1, AttachmentsDiffer: 1,
	}, report.Counts)
	require.EqualValues(t, 1, report.A.MissingDocuments)
	require.EqualValues(t, 3, report.A.MissingLeaves)
	require.EqualValues(t, 1, report.B.MissingDocuments)
	require.EqualValues(t, 4, report.B.MissingLeaves)
	require.EqualValues(t, 9, report.A.Documents)
	require.EqualValues(t, 13, report.A.Leaves)
	require.EqualValues(t, 16, report.DifferenceCount)
	require.Len(t, report.Differences, 3)
	require.Equal(t, "d02", report.Differences[2].ID, "the first by id are shown")
	require.Contains(t, report.String(), "and 13 more")
}

func TestWithoutBodiesTheContentIsNotAskedFor(t *testing.T) {
	pond := newPond(t)
	a, b := database(t, pond.url), database(t, pond.url)
	write(t, a, doc("d", 1, `"x":1`))
	write(t, b, doc("d", 1, `"x":2`))
	report := compared(t, a, b, Options{})
	require.True(t, report.Same, report)
	require.Zero(t, pond.Requests().Of(http.MethodPost, "_bulk_get"))
	require.Contains(t, report.String(), "bodies were not compared")
}

func TestBodiesAreComparedByValue(t *testing.T) {
	// CouchDB itself makes members and numbers its own; Millpond leaves bytes alone.
	a, b := database(t, newPond(t).url), database(t, newPond(t).url)
	write(t, a, doc("d", 1, `"x":{"b":1.0,"a":"\u00e9\/"},"n":1e400,"big":9223372036854775808`))
	write(t, b, doc("d", 1, `"big":9223372036854775808.00,"n":10e399,"x":{"a":"é/","b":1}`))
	require.True(t, compared(t, a, b, Options{Bodies: true}).Same)

	write(t, a, doc("e", 1, `"big":9223372036854775808`))
	write(t, b, doc("e", 1, `"big":9223372036854775809`))
	report := compared(t, a, b, Options{Bodies: true})
	require.Equal(t, []Difference{{
		ID: "e", Revs: []string{rev(1, 1)}, Kind: Body,
		Where: "/big", A: "9223372036854775808", B: "9223372036854775809",
	}}, report.Differences)
}

func TestStemmedHistoryIsNoDifference(t *testing.T) {
	a, b := database(t, newPond(t).url), database(t, newPond(t).url)
	write(t, a, after("d", "", 3, 2, 1))
	write(t, b, fmt.Sprintf(`{"_id":"d","_rev":%q,"_revisions":{"start":3,"ids":[%q,%q]}}`, rev(3, 3), hash(3), hash(2)))
	require.True(t, compared(t, a, b, Options{Bodies: true}).Same)
}

func TestOnlyChosenDocumentsAreCompared(t *testing.T) {
	onPairs(t, func(t *testing.T, a, b *couch.DB) {
		write(t, a, doc("x", 1, ""), doc("y", 1, ""), doc("_design/d", 1, ""))
		write(t, b, doc("x", 1, ""), doc("y", 2, ""))
		require.True(t, compared(t, a, b, Options{DocIDs: []string{"x"}}).Same)
		require.False(t, compared(t, a, b, Options{DocIDs: []string{"x", "y"}}).Same)
		report := compared(t, a, b, Options{IgnoreDesign: true})
		require.Len(t, report.Differences, 2)
		require.EqualValues(t, 2, report.A.Documents)
	})
}

func TestManyLeavesAreAskedForInSeveralRequests(t *testing.T) {
	pond := newPond(t)
	a, b := database(t, pond.url), database(t, pond.url)
	var docs []string
	for n := range 2*batchLeaves + 1 {
		docs = append(docs, after("d", fmt.Sprintf(`"n":%d`, n), n+1, 9999))
	}
	write(t, a, docs...)
	docs[batchLeaves] = after("d", `"n":"other"`, batchLeaves+1, 9999)
	write(t, b, docs...)
	report := compared(t, a, b, Options{Bodies: true})
	require.EqualValues(t, 1, report.DifferenceCount)
	require.EqualValues(t, 2*batchLeaves, report.MatchingLeaves)
	require.Equal(t, 2*3, pond.Requests().Of(http.MethodPost, "_bulk_get"))
}

func TestCutAnswersAreReadAgain(t *testing.T) {
	pond := newPond(t)
	a, b := database(t, pond.url), database(t, newPond(t).url)
	var docs []string
	for n := range 1000 {
		docs = append(docs, doc(fmt.Sprintf("d%04d", n), 1, `"x":1`))
	}
	write(t, a, docs...)
	write(t, b, docs...)
	pond.Inject(millpond.Fault{Match: millpond.Matching("", "/_changes"), Times: 2, CutBodyAfter: 90_000})
	pond.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_get"), Times: 2, CutBodyAfter: 20_000})
	report := compared(t, a, b, Options{Bodies: true})
	require.True(t, report.Same, report)
	require.EqualValues(t, 1000, report.A.Documents)
}

func TestErrorsNameTheSide(t *testing.T) {
	for _, path := range []string{"", "/_changes", "/_bulk_get"} {
		t.Run("path"+path, func(t *testing.T) {
			pond := newPond(t)
			a, b := database(t, newPond(t).url), database(t, pond.url)
			write(t, a, doc("d", 1, ""))
			write(t, b, doc("d", 1, ""))
			remove := pond.Inject(millpond.Fault{
				Match:  millpond.Matching("", b.Name()+path),
				Status: http.StatusForbidden, Body: `{"error":"forbidden","reason":"no"}`,
			})
			defer remove()
			_, err := Compare(t.Context(), a, b, Options{Bodies: true})
			var failed *ReadError
			require.ErrorAs(t, err, &failed)
			require.Equal(t, B, failed.Side)
			require.True(t, couch.IsForbidden(err))
			require.Contains(t, err.Error(), b.Name())
		})
	}
}

func TestCancelledComparisonEnds(t *testing.T) {
	a, b := database(t, newPond(t).url), database(t, newPond(t).url)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Compare(ctx, a, b, Options{})
	require.ErrorIs(t, err, context.Canceled)
}

func TestLeafThatCannotBeOpenedIsReported(t *testing.T) {
	pond := newPond(t)
	a, b := database(t, newPond(t).url), database(t, pond.url)
	write(t, a, doc("d", 1, ""))
	write(t, b, doc("d", 1, ""))
	pond.Inject(millpond.Fault{
		Match: millpond.Matching("", "/_bulk_get"), Status: http.StatusOK,
		Body: fmt.Sprintf(`{"results":[{"id":"d","docs":[{"error":{"id":"d","rev":%q,"error":"not_found","reason":"missing"}}]}]}`, rev(1, 1)),
	})
	report := compared(t, a, b, Options{Bodies: true})
	require.Equal(t, []Difference{{
		ID: "d", Revs: []string{rev(1, 1)}, Kind: Unreadable, Side: B, A: "readable", B: "not_found: missing",
	}}, report.Differences)
	require.EqualValues(t, 1, report.B.UnreadableLeaves)
	require.Zero(t, report.A.UnreadableLeaves)
}
