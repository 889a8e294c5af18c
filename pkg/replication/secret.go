package replication

import "log/slog"

const masked = "*****"

// Secret is text that must not be shown (invariant 9): printed, logged or
// marshalled it is masked. Convert it to a string to use it.
type Secret string

func (s Secret) String() string { return masked }

// GoString masks the secret in %#v.
func (s Secret) GoString() string { return masked }

// LogValue masks the secret in structured logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(masked) }

// MarshalText masks the secret in JSON and other encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(masked), nil }
