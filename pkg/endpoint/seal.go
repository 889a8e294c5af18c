package endpoint

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrSealed is wrapped by the errors for a credential that was sealed with a key
// that this process does not have.
var ErrSealed = errors.New("credential is sealed with another key")

// Sealer encrypts credentials at rest with AES-256-GCM. The nil Sealer leaves
// them as they are: without a key there is nothing to seal with.
type Sealer struct {
	id   string
	aead cipher.AEAD
}

// NewSealer takes a key of 32 bytes in base64, as `openssl rand -base64 32`
// prints it. An empty key gives the nil Sealer.
func NewSealer(key string) (*Sealer, error) {
	if key == "" {
		return nil, nil
	}
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil || len(raw) != 32 {
		return nil, errors.New("sealing key: expected 32 bytes in base64")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("sealing key: %w", err)
	}
	sum := sha256.Sum256(raw)
	return &Sealer{id: hex.EncodeToString(sum[:8]), aead: aead}, nil
}

// keyID names the key; it is empty without one.
func (s *Sealer) keyID() string {
	if s == nil {
		return ""
	}
	return s.id
}

// seal returns the bytes to store and the id of the key. The name is bound to
// them: a sealed credential cannot be moved to another endpoint.
func (s *Sealer) seal(name string, plain []byte) (stored []byte, key string, err error) {
	if s == nil {
		return plain, "", nil
	}
	nonce := make([]byte, s.aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return nil, "", fmt.Errorf("seal credential: %w", err)
	}
	return s.aead.Seal(nonce, nonce, plain, []byte(name)), s.id, nil
}

func (s *Sealer) open(name, key string, stored []byte) ([]byte, error) {
	if key == "" {
		return stored, nil
	}
	if s == nil || s.id != key {
		return nil, fmt.Errorf("%w: key %s", ErrSealed, key)
	}
	n := s.aead.NonceSize()
	if len(stored) < n {
		return nil, fmt.Errorf("%w: truncated", ErrSealed)
	}
	plain, err := s.aead.Open(nil, stored[:n], stored[n:], []byte(name))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	return plain, nil
}
