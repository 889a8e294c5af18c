package replication

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"strings"

	"millrace/pkg/ejson"
	"millrace/pkg/mango"
)

// ID computes CouchDB's replication id, version 4, byte for byte, as CouchDB
// 3.5.2 does (from there on since_seq is part of it).
//
// ServerUUID is the uuid of the server, which CouchDB has in GET /. FilterCode
// is the function filters.NAME of the design document when [Spec.FilterDesignDoc]
// says there is one, as the source has it; otherwise it is ignored. Errors are
// *[FieldError]; one is that an endpoint does not come from a [Parser], for the
// id depends on details of a document that Endpoint does not show.
func (j Job) ID(serverUUID, filterCode string) (ID, error) {
	if j.Source.identity == nil || j.Target.identity == nil {
		return ID{}, refuse("source", "no replication id for endpoints that were not parsed")
	}
	filter, err := j.filterIdentity(filterCode)
	if err != nil {
		return ID{}, err
	}
	terms := append(ejson.Array{serverUUID, j.Source.identity, j.Target.identity}, filter...)
	if j.WinningRevsOnly {
		terms = append(terms, "winning_revs_only")
	}
	if j.SinceSeq != nil {
		since, err := ejson.Parse(j.SinceSeq)
		if err != nil {
			return ID{}, mustBe("since_seq", "a sequence")
		}
		terms = append(terms, since)
	}
	sum := md5.Sum(ejson.Marshal(terms))
	return ID{Base: hex.EncodeToString(sum[:]), Ext: j.ext()}, nil
}

func (s *Spec) ext() string {
	ext := ""
	if s.Continuous {
		ext += "+continuous"
	}
	if s.CreateTarget {
		ext += "+create_target"
	}
	return ext
}

// filterIdentity is what the id takes of the selection. What CouchDB cannot do, skip_deletes,
// counts as well: whoever stops skipping deletions wants those that were skipped.
func (s *Selection) filterIdentity(code string) (terms ejson.Array, err error) {
	switch {
	case s.DocIDs != nil:
		ids := ejson.Array{}
		for _, id := range s.DocIDs {
			ids = append(ids, id)
		}
		terms = ejson.Array{ids}
	case s.Selector != nil:
		normal, err := parseSelector("selector", s.Selector)
		if err != nil {
			return nil, err
		}
		terms = ejson.Array{normal}
	case s.Filter != "":
		params, err := s.queryParams("")
		if err != nil {
			return nil, err
		}
		function := s.Filter
		if !s.builtinFilter() {
			function = trimCode(code)
		}
		terms = ejson.Array{function, params}
	}
	if s.SkipDeletes {
		terms = append(terms, ejson.Atom("skip_deletes"))
	}
	return terms, nil
}

func (s *Selection) queryParams(place string) (any, error) {
	if s.QueryParams == nil {
		return ejson.Object{}, nil
	}
	params, err := ejson.Parse(s.QueryParams)
	if err != nil {
		return nil, refuse(place+"query_params", "parameter `%squery_params`: %v", place, err)
	}
	return params, nil
}

// parseSelector reads and normalises a selector.
func parseSelector(field string, selector []byte) (ejson.Object, error) {
	s, err := mango.Parse(selector)
	var refused *mango.Error
	switch {
	case err == nil:
		return s.Canonical(), nil
	case errors.Is(err, mango.ErrNotObject):
		return nil, mustBe(field, "a JSON object")
	case errors.As(err, &refused):
		return nil, refuse(field, "parameter `%s`: %s", field, refused.Reason)
	}
	return nil, refuse(field, "parameter `%s`: %v", field, err)
}

// trimCode removes the spaces around a filter function that is written on one
// line, and nothing else: what CouchDB's regular expression comes to.
func trimCode(code string) string {
	line, end := strings.CutSuffix(code, "\n")
	if strings.Contains(line, "\n") {
		return code
	}
	line = strings.Trim(line, " ")
	if end {
		line += "\n"
	}
	return line
}
