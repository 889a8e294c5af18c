package millpond

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// maxRanges is how many ranges CouchDB sends in one answer; for more it sends all.
const maxRanges = 9

// byteRange is a part of a content, its last byte included.
type byteRange struct {
	from, to int64
}

func (r byteRange) header(length int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", r.from, r.to, length)
}

var errRange = newError(http.StatusRequestedRangeNotSatisfiable,
	"requested_range_not_satisfiable", "Requested range not satisfiable")

// sendRanges answers with what the Range header asks for of a content that is
// stored plain. As in CouchDB a range that begins at 0 and has no end is the whole
// content, with 200, and If-Range means nothing.
func (c *call) sendRanges(att *Attachment) error {
	h := c.w.Header()
	length := int64(len(att.Data))
	ranges, ok := parseRanges(c.r.Header.Get("Range"), length)
	if !ok || len(ranges) > maxRanges {
		h.Set("Accept-Ranges", "bytes")
		return c.send(http.StatusOK, att.ContentType, att.Data)
	}
	if !satisfiable(ranges, length) {
		h.Del("ETag")
		return errRange
	}
	if len(ranges) == 1 {
		r := ranges[0]
		h.Set("Accept-Ranges", "bytes")
		h.Set("Content-Range", r.header(length))
		return c.send(http.StatusPartialContent, att.ContentType, att.Data[r.from:r.to+1])
	}
	return c.sendManyRanges(att, ranges)
}

// sendPacked answers with what is stored packed, as it is or unpacked. There are no
// ranges of it, but CouchDB refuses those that it could not satisfy.
func (c *call) sendPacked(att *Attachment, data []byte) error {
	h := c.w.Header()
	if ranges, ok := parseRanges(c.r.Header.Get("Range"), int64(len(data))); ok && !satisfiable(ranges, int64(len(data))) {
		h.Del("ETag")
		h.Del("Content-Encoding")
		return errRange
	}
	h.Set("Accept-Ranges", "none")
	return c.send(http.StatusOK, att.ContentType, data)
}

func satisfiable(ranges []byteRange, length int64) bool {
	for _, r := range ranges {
		if r.from > r.to || r.from >= length {
			return false
		}
	}
	return true
}

func (c *call) sendManyRanges(att *Attachment, ranges []byteRange) error {
	boundary := randomHex(16)
	body := []byte("--" + boundary)
	for _, r := range ranges {
		body = fmt.Appendf(body, "\r\nContent-Type: %s\r\nContent-Range: %s\r\n\r\n", att.ContentType, r.header(int64(len(att.Data))))
		body = append(body, att.Data[r.from:r.to+1]...)
		body = append(body, "\r\n--"+boundary...)
	}
	c.w.Header().Del("ETag")
	return c.send(http.StatusPartialContent, `multipart/byteranges; boundary="`+boundary+`"`, append(body, "--"...))
}

// parseRanges reads a Range header. It is not ok if all is to be sent: there is
// none, it is malformed, or it asks for everything.
func parseRanges(header string, length int64) (ranges []byteRange, ok bool) {
	list, bytes := strings.CutPrefix(header, "bytes=")
	if !bytes {
		return nil, false
	}
	for _, text := range strings.Split(list, ",") {
		first, last, found := strings.Cut(strings.TrimSpace(text), "-")
		if !found {
			return nil, false
		}
		from, errFrom := strconv.ParseInt(first, 10, 64)
		to, errTo := strconv.ParseInt(last, 10, 64)
		switch {
		case first == "" && errTo == nil: // the last bytes
			from, to = max(length-to, 0), length-1
		case errFrom == nil && last == "":
			if from == 0 {
				return nil, false
			}
			to = length - 1
		case errFrom != nil || errTo != nil:
			return nil, false
		}
		ranges = append(ranges, byteRange{from, min(to, max(length-1, from))})
	}
	return ranges, true
}
