package broker

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// Headers of a message whose content was handed in at the cloakroom.
const (
	headerClaim       = "Millrace-Claim"        // where the content is: the claim's id
	headerClaimFirst  = "Millrace-Claim-First"  // stream sequence of its first chunk
	headerClaimChunks = "Millrace-Claim-Chunks" // how many there are
	headerClaimSize   = "Millrace-Claim-Size"   // bytes of all together
	headerClaimSum    = "Millrace-Claim-Sum"    // SHA-256 of all together
)

const (
	// claimHeaders is room for the claim's own headers.
	claimHeaders = 512
	// maxChunk keeps chunks at the size that the broker moves best.
	maxChunk = 512 * kib
)

// needsClaim reports that a message is over the connection's limit.
func (b *Broker) needsClaim(m *nats.Msg) bool {
	return int64(wireSize(m)) > b.conn.MaxPayload()
}

// checkIn stores the content of a message in chunks and returns the message
// that stands for it: the same subject and headers, and where the content is.
// Repeated after a failure it leaves the chunks of the first attempt to age out.
func (b *Broker) checkIn(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	if int64(headerSize(m.Header)+claimHeaders) > b.conn.MaxPayload() {
		return nil, fmt.Errorf("publish to %s: %w: its headers alone are too large", m.Subject, ErrRefused)
	}
	id := nuid.Next()
	first, chunks, err := b.storeChunks(ctx, id, m.Data)
	if err != nil {
		return nil, fmt.Errorf("publish to %s: store the content: %w", m.Subject, err)
	}
	sum := sha256.Sum256(m.Data)
	claim := &nats.Msg{Subject: m.Subject, Header: nats.Header{}}
	for key, values := range m.Header {
		claim.Header[key] = values
	}
	claim.Header.Set(headerClaim, id)
	claim.Header.Set(headerClaimFirst, formatUint(first))
	claim.Header.Set(headerClaimChunks, strconv.Itoa(chunks))
	claim.Header.Set(headerClaimSize, strconv.Itoa(len(m.Data)))
	claim.Header.Set(headerClaimSum, hex.EncodeToString(sum[:]))
	return claim, nil
}

// storeChunks stores one chunk after the other, so that their stream sequences
// ascend.
func (b *Broker) storeChunks(ctx context.Context, id string, data []byte) (first uint64, chunks int, err error) {
	size := int(min(maxChunk, b.conn.MaxPayload()-claimHeaders))
	subject := b.Subjects().claim(id)
	for len(data) > 0 {
		chunk := data[:min(size, len(data))]
		data = data[len(chunk):]
		seq, err := b.storeChunk(ctx, subject, fmt.Sprintf("%s.%d", id, chunks), chunk)
		if err != nil {
			return 0, 0, err
		}
		if chunks == 0 {
			first = seq
		}
		chunks++
	}
	return first, chunks, nil
}

func (b *Broker) storeChunk(ctx context.Context, subject, msgID string, chunk []byte) (uint64, error) {
	for retry := newBackoff(10*time.Millisecond, time.Second); ; {
		attempt, cancel := context.WithTimeout(ctx, ackTimeout)
		ack, err := b.js.Publish(attempt, subject, chunk, jetstream.WithMsgID(msgID))
		cancel()
		if err == nil {
			return ack.Sequence, nil
		}
		if judge(err) == verdictNever {
			return 0, err
		}
		if stop := retry.wait(ctx); stop != nil {
			return 0, errors.Join(stop, err)
		}
	}
}

// claimed reports that a message's content stands elsewhere.
func claimed(h nats.Header) bool { return h.Get(headerClaim) != "" }

// checkOut returns the content of a message, wherever it stands. The error is
// [ErrClaimLost] when it is gone or not what was stored.
func (b *Broker) checkOut(ctx context.Context, h nats.Header, data []byte) ([]byte, error) {
	if !claimed(h) {
		return data, nil
	}
	size, err := strconv.Atoi(h.Get(headerClaimSize))
	if err != nil || size < 0 {
		return nil, fmt.Errorf("claim %s: unreadable size: %w", h.Get(headerClaim), ErrClaimLost)
	}
	content, err := b.readChunks(ctx, h, size)
	if err != nil {
		return nil, fmt.Errorf("claim %s: %w", h.Get(headerClaim), err)
	}
	sum := sha256.Sum256(content)
	if len(content) != size || hex.EncodeToString(sum[:]) != h.Get(headerClaimSum) {
		return nil, fmt.Errorf("claim %s: content differs from what was stored: %w", h.Get(headerClaim), ErrClaimLost)
	}
	return content, nil
}

func (b *Broker) readChunks(ctx context.Context, h nats.Header, size int) ([]byte, error) {
	chunks, err := strconv.Atoi(h.Get(headerClaimChunks))
	if err != nil {
		return nil, fmt.Errorf("unreadable number of chunks: %w", ErrClaimLost)
	}
	var content bytes.Buffer
	subject, next := b.Subjects().claim(h.Get(headerClaim)), parseUint(h.Get(headerClaimFirst))
	for range chunks {
		chunk, err := b.getNext(ctx, b.Streams().Claims, subject, next)
		if errors.Is(err, ErrGone) {
			return nil, ErrClaimLost
		}
		if err != nil {
			return nil, err
		}
		if content.Len()+len(chunk.Data) > size {
			return nil, fmt.Errorf("more content than was stored: %w", ErrClaimLost)
		}
		content.Write(chunk.Data)
		next = chunk.Sequence + 1
	}
	return content.Bytes(), nil
}

// withoutClaim removes the claim's headers: whoever reads the message need not
// know.
func withoutClaim(h nats.Header) nats.Header {
	if !claimed(h) {
		return h
	}
	clean := nats.Header{}
	for key, values := range h {
		switch key {
		case headerClaim, headerClaimFirst, headerClaimChunks, headerClaimSize, headerClaimSum:
		default:
			clean[key] = values
		}
	}
	return clean
}

func formatUint(n uint64) string { return strconv.FormatUint(n, 10) }

// parseUint reads a number that this package wrote; what is not one is 0, which
// is no sequence.
func parseUint(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
