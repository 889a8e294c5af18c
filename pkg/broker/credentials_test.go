package broker_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"millrace/pkg/broker"
)

// operator is a NATS operator, whose accounts a server knows by signed tokens and whose
// users prove who they are with keys.
type operator struct {
	key      nkeys.KeyPair
	claims   *jwt.OperatorClaims
	accounts *server.MemAccResolver
	system   string
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	key, err := nkeys.CreateOperator()
	require.NoError(t, err)
	o := &operator{key: key, accounts: &server.MemAccResolver{}, claims: jwt.NewOperatorClaims(publicKey(t, key))}
	o.system = publicKey(t, o.account(t, "system", nil))
	o.claims.SystemAccount = o.system
	encoded, err := o.claims.Encode(key) // the server wants what was signed
	require.NoError(t, err)
	o.claims, err = jwt.DecodeOperatorClaims(encoded)
	require.NoError(t, err)
	return o
}

// account makes an account and returns its key.
func (o *operator) account(t *testing.T, name string, change func(*jwt.AccountClaims)) nkeys.KeyPair {
	t.Helper()
	key, err := nkeys.CreateAccount()
	require.NoError(t, err)
	claims := jwt.NewAccountClaims(publicKey(t, key))
	claims.Name = name
	if change != nil {
		change(claims)
	}
	encoded, err := claims.Encode(o.key)
	require.NoError(t, err)
	require.NoError(t, o.accounts.Store(claims.Subject, encoded))
	return key
}

func (o *operator) serve(t *testing.T) *server.Server {
	t.Helper()
	return startServer(t, &server.Options{
		TrustedOperators: []*jwt.OperatorClaims{o.claims}, AccountResolver: o.accounts, SystemAccount: o.system,
	})
}

// user writes the credentials file of a new user of an account, and returns the key's
// seed too, which nobody may see.
func user(t *testing.T, account nkeys.KeyPair) (file, seed string) {
	t.Helper()
	key, err := nkeys.CreateUser()
	require.NoError(t, err)
	encoded, err := jwt.NewUserClaims(publicKey(t, key)).Encode(account)
	require.NoError(t, err)
	secret, err := key.Seed()
	require.NoError(t, err)
	content, err := jwt.FormatUserConfig(encoded, secret)
	require.NoError(t, err)
	file = filepath.Join(t.TempDir(), "user.creds")
	require.NoError(t, os.WriteFile(file, content, 0o600))
	return file, string(secret)
}

func publicKey(t *testing.T, key nkeys.KeyPair) string {
	t.Helper()
	public, err := key.PublicKey()
	require.NoError(t, err)
	return public
}

func withJetStream(c *jwt.AccountClaims) {
	c.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: jwt.NoLimit, MemoryStorage: jwt.NoLimit, Streams: jwt.NoLimit, Consumer: jwt.NoLimit}
}

func TestUserOfAnAccountConnectsWithACredentialsFile(t *testing.T) {
	o := newOperator(t)
	account := o.account(t, "mill", withJetStream)
	s := o.serve(t)
	creds, _ := user(t, account)
	requireWorks(t, connect(t, broker.Options{URL: s.ClientURL(), CredsFile: creds}))
}

func TestCredentialsThatTheServerDoesNotTrustAreSaid(t *testing.T) {
	s := newOperator(t).serve(t)
	creds, seed := user(t, newOperator(t).account(t, "another operator's", withJetStream))
	require.ErrorIs(t, refuses(t, broker.Options{URL: s.ClientURL(), CredsFile: creds}, seed), nats.ErrAuthorization)
	require.ErrorIs(t, refuses(t, broker.Options{URL: s.ClientURL()}), nats.ErrAuthorization)
}

func TestAccountWithoutJetStreamIsSaid(t *testing.T) {
	o := newOperator(t)
	account := o.account(t, "without", nil)
	o.account(t, "with", withJetStream)
	s := o.serve(t)
	creds, seed := user(t, account)
	require.ErrorIs(t, refuses(t, broker.Options{URL: s.ClientURL(), CredsFile: creds}, seed), broker.ErrUnsuitable)
}

func TestAccountsAreInstallationsOfTheirOwn(t *testing.T) {
	o := newOperator(t)
	one, other := o.account(t, "one", withJetStream), o.account(t, "other", withJetStream)
	s := o.serve(t)
	first, _ := user(t, one)
	second, _ := user(t, other)
	a := connect(t, broker.Options{URL: s.ClientURL(), CredsFile: first})
	b := connect(t, broker.Options{URL: s.ClientURL(), CredsFile: second})
	publish(t, a, a.Subjects().Write("default", "job"), "x")
	require.EqualValues(t, 1, messagesIn(t, a, a.Streams().Write))
	require.Zero(t, messagesIn(t, b, b.Streams().Write))
}
