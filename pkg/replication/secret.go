package replication

import "millrace/pkg/credential"

// Secret is text that must not be shown (invariant 9).
type Secret = credential.Secret
