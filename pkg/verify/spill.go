package verify

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// spill is a temporary file of sorted runs, one behind the other. In a run, each
// record shares the beginning of its id with the record before.
type spill struct {
	file *os.File
	runs []span // oldest first
	size int64
	kept bool // the file still has a name, because the system does not remove open files
}

// span is a part of a file.
type span struct {
	at, length int64
}

func newSpill(dir string) (*spill, error) {
	file, err := os.CreateTemp(dir, "millrace-verify-*")
	if err != nil {
		return nil, fmt.Errorf("sort rows: %w", err)
	}
	// Without a name the file goes with the process, however that ends.
	return &spill{file: file, kept: os.Remove(file.Name()) != nil}, nil
}

// close removes the file. It holds nothing that could be lost, so there is nobody to tell of an error.
func (s *spill) close() {
	_ = s.file.Close()
	if s.kept {
		_ = os.Remove(s.file.Name())
	}
}

// write appends a run.
func (s *spill) write(from records, buffer int) error {
	w := runWriter{out: bufio.NewWriterSize(io.NewOffsetWriter(s.file, s.size), buffer)}
	err := w.writeAll(from)
	if err == nil {
		err = w.out.Flush()
	}
	if err != nil {
		return fmt.Errorf("sort rows: %w", err)
	}
	s.runs = append(s.runs, span{at: s.size, length: w.length})
	s.size += w.length
	return nil
}

// openAll starts to read runs.
func (s *spill) openAll(runs []span, buffer int) []*runReader {
	readers := make([]*runReader, len(runs))
	for i, r := range runs {
		section := io.NewSectionReader(s.file, r.at, r.length)
		readers[i] = &runReader{in: bufio.NewReaderSize(section, buffer), age: i}
	}
	return readers
}

// runWriter writes the records of a run.
type runWriter struct {
	out    *bufio.Writer
	length int64
	last   []byte // the id before
	head   []byte
}

func (w *runWriter) writeAll(from records) error {
	for {
		rec, err := from.next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := w.write(rec); err != nil {
			return err
		}
	}
}

// write writes the lengths of the shared part of the id, of its rest, and of the row; then those two.
func (w *runWriter) write(rec record) error {
	shared := sharedPrefix(w.last, rec.id)
	rest := rec.id[shared:]
	w.last = append(w.last[:shared], rest...)
	w.head = binary.AppendUvarint(w.head[:0], uint64(shared))
	w.head = binary.AppendUvarint(w.head, uint64(len(rest)))
	w.head = binary.AppendUvarint(w.head, uint64(len(rec.row)))
	for _, part := range [][]byte{w.head, rest, rec.row} {
		n, err := w.out.Write(part)
		w.length += int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

func sharedPrefix(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// runReader reads the records of a run.
type runReader struct {
	in  *bufio.Reader
	age int // runs with a higher one were written later
	record
}

// next reads the next record, which is also left in the reader.
func (r *runReader) next() (record, error) {
	shared, err := binary.ReadUvarint(r.in)
	if err == io.EOF {
		return record{}, io.EOF
	}
	if err == nil {
		err = r.fill(shared)
	}
	if err != nil {
		return record{}, fmt.Errorf("sort rows: %w", errors.Join(errRow, err))
	}
	return r.record, nil
}

func (r *runReader) fill(shared uint64) error {
	rest, err := binary.ReadUvarint(r.in)
	if err != nil {
		return err
	}
	length, err := binary.ReadUvarint(r.in)
	if err != nil {
		return err
	}
	if shared > uint64(len(r.id)) {
		return errRow
	}
	r.id = sized(r.id, shared, shared+rest)
	if _, err := io.ReadFull(r.in, r.id[shared:]); err != nil {
		return err
	}
	r.row = sized(r.row, 0, length)
	_, err = io.ReadFull(r.in, r.row)
	return err
}

// sized returns buf with the given length, and its first bytes as they were.
func sized(buf []byte, keep, length uint64) []byte {
	if length <= uint64(cap(buf)) {
		return buf[:length]
	}
	grown := make([]byte, length, length+length/2)
	copy(grown, buf[:keep])
	return grown
}
