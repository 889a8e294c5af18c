package verify

import (
	"bytes"
	"io"
)

// join walks through two sorted lists and calls visit for every id in either; the
// row of a list without the id is nil. What visit gets is valid during the call.
func join(a, b records, visit func(id, rowA, rowB []byte) error) error {
	x, y := cursor{from: a}, cursor{from: b}
	if err := x.advance(); err != nil {
		return err
	}
	if err := y.advance(); err != nil {
		return err
	}
	for x.more || y.more {
		if err := visitNext(&x, &y, visit); err != nil {
			return err
		}
	}
	return nil
}

// visitNext visits the lower id of the two, and goes past it.
func visitNext(x, y *cursor, visit func(id, rowA, rowB []byte) error) error {
	switch order := x.compare(y); {
	case order < 0:
		if err := visit(x.id, x.row, nil); err != nil {
			return err
		}
		return x.advance()
	case order > 0:
		if err := visit(y.id, nil, y.row); err != nil {
			return err
		}
		return y.advance()
	}
	if err := visit(x.id, x.row, y.row); err != nil {
		return err
	}
	if err := x.advance(); err != nil {
		return err
	}
	return y.advance()
}

// cursor is a place in a list.
type cursor struct {
	from records
	more bool // there is a record here
	record
}

func (c *cursor) advance() (err error) {
	c.record, err = c.from.next()
	c.more = err == nil
	if err == io.EOF {
		return nil
	}
	return err
}

// compare orders by id; the end is behind all.
func (c *cursor) compare(other *cursor) int {
	switch {
	case !other.more:
		return -1
	case !c.more:
		return 1
	}
	return bytes.Compare(c.id, other.id)
}
