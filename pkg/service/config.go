// Package service is what the programs of the pipeline have in common: how they are
// told where the broker is, how they connect, log and trace, and how they stop.
package service

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"millrace/pkg/broker"
	"millrace/pkg/credential"
)

// DefaultQuietAfter is how long a live feed has to be quiet by default.
const DefaultQuietAfter = time.Minute

// DefaultSite is the site of a program that is told none.
const DefaultSite = "default"

// Config is what every program of the pipeline is told. Flags override the
// environment.
type Config struct {
	// NATS is the URL of the broker (--nats, MILLRACE_NATS). A user and a password in
	// it are not printed.
	NATS string
	// CredsFile is a NATS credentials file (--nats-creds, MILLRACE_NATS_CREDS). CAFile is
	// the authority of the broker's certificate (--nats-ca, MILLRACE_NATS_CA); CertFile
	// and KeyFile, both or neither, are the program's own (--nats-cert and --nats-key,
	// MILLRACE_NATS_CERT and MILLRACE_NATS_KEY).
	CredsFile, CAFile, CertFile, KeyFile string
	// Namespace prefixes all streams, subjects and buckets, so that several
	// installations share a broker (--namespace, MILLRACE_NAMESPACE).
	Namespace string
	// Replicas of streams and buckets, for a broker that is a cluster (--replicas); 0
	// leaves those that there are as they are and makes new ones with 1.
	Replicas int
	// PerSubject is how many batches of a job may be at a stage at once; 0 leaves what the
	// broker has, or is [broker.Limits]' default.
	PerSubject int
	// Site that the program works at (--site, MILLRACE_SITE).
	Site string
	// AttachmentsCapacity is how much the contents of large attachments may take of the
	// broker's disk together, as far as this program stores them (--attachments-capacity,
	// MILLRACE_ATTACHMENTS_CAPACITY). What is larger alone is rejected.
	AttachmentsCapacity Bytes
	// BodiesCapacity and BodiesAge bound the stream BODIES, through which documents cross the broker
	// (--bodies-capacity, MILLRACE_BODIES_CAPACITY; --bodies-age, MILLRACE_BODIES_AGE). The oldest are
	// dropped; a target that is further behind has them fetched again. 0 leaves what the
	// broker has, or is [broker.Limits]' default.
	BodiesCapacity Bytes
	BodiesAge      time.Duration
	// BodiesIndex is how much memory a doc-fetcher takes to know what of it stands in BODIES, so that
	// several targets share it (--bodies-index, MILLRACE_BODIES_INDEX).
	BodiesIndex Bytes
	// BodiesCache is how much memory a bulk-writer takes to keep the messages that it read last: what
	// stands in them is for several targets (--bodies-cache, MILLRACE_BODIES_CACHE).
	BodiesCache Bytes
	// QuietAfter is how long a live feed has to be quiet to be closed, where its server announces updates
	// (--quiet-after, MILLRACE_QUIET_AFTER); 0 for never. QuietFeeds is how many feeds of a server have to
	// be quiet for that (--quiet-feeds, MILLRACE_QUIET_FEEDS); 0 for the changes-reader's default.
	QuietAfter time.Duration
	QuietFeeds int
	// SealKey encrypts the site's credentials in the broker: 32 bytes in base64
	// (MILLRACE_SEAL_KEY; there is no flag, because flags can be seen by all users).
	SealKey string
	// SecretFiles and SecretEnv are what jobs may refer to for credentials and certificates: absolute
	// directories (--secret-files, MILLRACE_SECRET_FILES) and prefixes of variables (--secret-env,
	// MILLRACE_SECRET_ENV), each HOST=... for that host only, separated by commas. SecretNetrc is the
	// file for jobs that want a netrc file (--secret-netrc, MILLRACE_SECRET_NETRC). By default jobs may
	// refer to nothing: who may submit one could have the file sent to a server of theirs.
	SecretFiles, SecretEnv []string
	SecretNetrc            string
	// AnySecret lets jobs refer to all that the program can read: for a program whose only jobs are
	// its user's own.
	AnySecret bool
	// LogFormat is "text" or "json" (--log-format), LogLevel "debug", "info",
	// "warn" or "error" (--log-level).
	LogFormat, LogLevel string
}

// FromEnvironment returns the configuration that the environment gives, with the
// defaults for the rest. What it cannot read of it [Config.Check] says.
func FromEnvironment() Config {
	c := Config{
		NATS:        os.Getenv("MILLRACE_NATS"),
		CredsFile:   os.Getenv("MILLRACE_NATS_CREDS"),
		CAFile:      os.Getenv("MILLRACE_NATS_CA"),
		CertFile:    os.Getenv("MILLRACE_NATS_CERT"),
		KeyFile:     os.Getenv("MILLRACE_NATS_KEY"),
		Namespace:   cmp.Or(os.Getenv("MILLRACE_NAMESPACE"), "millrace"),
		Site:        cmp.Or(os.Getenv("MILLRACE_SITE"), DefaultSite),
		SealKey:     os.Getenv("MILLRACE_SEAL_KEY"),
		SecretFiles: list("MILLRACE_SECRET_FILES"), SecretEnv: list("MILLRACE_SECRET_ENV"),
		SecretNetrc: os.Getenv("MILLRACE_SECRET_NETRC"),
		QuietAfter:  DefaultQuietAfter,

		LogFormat: cmp.Or(os.Getenv("MILLRACE_LOG_FORMAT"), "text"),
		LogLevel:  cmp.Or(os.Getenv("MILLRACE_LOG_LEVEL"), "info"),
	}
	size(&c.AttachmentsCapacity, "MILLRACE_ATTACHMENTS_CAPACITY")
	size(&c.BodiesCapacity, "MILLRACE_BODIES_CAPACITY")
	size(&c.BodiesIndex, "MILLRACE_BODIES_INDEX")
	size(&c.BodiesCache, "MILLRACE_BODIES_CACHE")
	variable(&c.BodiesAge, "MILLRACE_BODIES_AGE", func(text string) (time.Duration, error) {
		age, err := time.ParseDuration(text)
		if age == 0 {
			age = -1
		}
		return age, err
	})
	variable(&c.QuietAfter, "MILLRACE_QUIET_AFTER", time.ParseDuration)
	variable(&c.QuietFeeds, "MILLRACE_QUIET_FEEDS", strconv.Atoi)
	return c
}

// variable reads a variable; what parse does not take is -1.
func variable[T ~int | ~int64](into *T, name string, parse func(text string) (T, error)) {
	text, ok := os.LookupEnv(name)
	if !ok {
		return
	}
	value, err := parse(text)
	if err != nil {
		value = -1
	}
	*into = value
}

// size reads a variable; what is no size is -1.
func size(into *Bytes, variable string) {
	if text, ok := os.LookupEnv(variable); ok && into.Set(text) != nil {
		*into = -1
	}
}

// Flags adds a flag for each setting that may be seen, with the present values as
// defaults.
func (c *Config) Flags(f *pflag.FlagSet) {
	f.StringVar(&c.NATS, "nats", c.NATS, "URL of the NATS broker ($MILLRACE_NATS)")
	f.StringVar(&c.CredsFile, "nats-creds", c.CredsFile, "NATS credentials file ($MILLRACE_NATS_CREDS)")
	f.StringVar(&c.CAFile, "nats-ca", c.CAFile, "file of the certificate authority of the broker ($MILLRACE_NATS_CA)")
	f.StringVar(&c.CertFile, "nats-cert", c.CertFile, "file of the client certificate for the broker ($MILLRACE_NATS_CERT)")
	f.StringVar(&c.KeyFile, "nats-key", c.KeyFile, "file of the client certificate's key ($MILLRACE_NATS_KEY)")
	f.StringVar(&c.Namespace, "namespace", c.Namespace, "prefix of all streams, subjects and buckets ($MILLRACE_NAMESPACE)")
	f.IntVar(&c.Replicas, "replicas", c.Replicas, "replicas of streams and buckets, for a NATS cluster (default: leave them; 1 for new ones)")
	f.StringVar(&c.Site, "site", c.Site, "site that this program works at ($MILLRACE_SITE)")
	f.StringSliceVar(&c.SecretFiles, "secret-files", c.SecretFiles, "directory, or HOST=directory, with credentials that jobs may refer to ($MILLRACE_SECRET_FILES)")
	f.StringSliceVar(&c.SecretEnv, "secret-env", c.SecretEnv, "prefix, or HOST=prefix, of variables with such credentials ($MILLRACE_SECRET_ENV)")
	f.StringVar(&c.SecretNetrc, "secret-netrc", c.SecretNetrc, "netrc file for jobs that ask for one ($MILLRACE_SECRET_NETRC)")
	f.Var(&c.AttachmentsCapacity, "attachments-capacity", "what large attachments may take of the broker's disk together ($MILLRACE_ATTACHMENTS_CAPACITY; default 4GiB)")
	f.Var(&c.BodiesCapacity, "bodies-capacity", "what documents on their way may take of the broker's disk together ($MILLRACE_BODIES_CAPACITY; default 1GiB)")
	f.DurationVar(&c.BodiesAge, "bodies-age", c.BodiesAge, "how long they are kept there at most ($MILLRACE_BODIES_AGE; default 1h)")
	f.Var(&c.BodiesIndex, "bodies-index", "memory for the index by which targets share them ($MILLRACE_BODIES_INDEX; default 32MiB)")
	f.Var(&c.BodiesCache, "bodies-cache", "memory for those that were read last, for several targets ($MILLRACE_BODIES_CACHE; default 32MiB)")
	f.DurationVar(&c.QuietAfter, "quiet-after", c.QuietAfter, "how long nothing must change at a source for its feed to be closed, where the server says what changes; 0 for never ($MILLRACE_QUIET_AFTER)")
	f.IntVar(&c.QuietFeeds, "quiet-feeds", c.QuietFeeds, "how many feeds of a server have to be that quiet ($MILLRACE_QUIET_FEEDS; default 20)")
	c.LogFlags(f)
}

// list is a variable's items, which are separated by commas.
func list(name string) []string {
	if os.Getenv(name) == "" {
		return nil
	}
	return strings.Split(os.Getenv(name), ",")
}

// Secrets are the rules for what jobs refer to.
func (c *Config) Secrets() (credential.Rules, error) {
	r := credential.Rules{Any: c.AnySecret, Netrc: c.SecretNetrc}
	for _, text := range c.SecretFiles {
		rule, err := credential.ParseRule(text)
		if err == nil && !credential.CleanFile(rule.Below) {
			err = fmt.Errorf("expected an absolute path, got %q", rule.Below)
		}
		if err != nil {
			return r, fmt.Errorf("--secret-files: %w", err)
		}
		r.Files = append(r.Files, rule)
	}
	for _, text := range c.SecretEnv {
		rule, err := credential.ParseRule(text)
		if err != nil {
			return r, fmt.Errorf("--secret-env: %w", err)
		}
		r.Env = append(r.Env, rule)
	}
	return r, nil
}

// LogFlags adds the flags for logging alone.
func (c *Config) LogFlags(f *pflag.FlagSet) {
	f.StringVar(&c.LogFormat, "log-format", c.LogFormat, "text or json ($MILLRACE_LOG_FORMAT)")
	f.StringVar(&c.LogLevel, "log-level", c.LogLevel, "debug, info, warn or error ($MILLRACE_LOG_LEVEL)")
}

// brokerOptions is what the configuration says of the broker.
func (c *Config) brokerOptions() broker.Options {
	return broker.Options{
		URL: c.NATS, CredsFile: c.CredsFile,
		TLS:       broker.TLSFiles{CA: c.CAFile, Cert: c.CertFile, Key: c.KeyFile},
		Namespace: c.Namespace, Replicas: c.Replicas, Limits: broker.Limits{
			PerSubject: c.PerSubject, BodiesBytes: int64(c.BodiesCapacity), BodiesAge: c.BodiesAge,
		},
	}
}

var name = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`)

// Check says what is wrong with the configuration.
func (c *Config) Check() error {
	switch {
	case !name.MatchString(c.Namespace):
		return fmt.Errorf("--namespace: expected lower-case letters, digits and -, got %q", c.Namespace)
	case !name.MatchString(c.Site):
		return fmt.Errorf("--site: expected lower-case letters, digits and -, got %q", c.Site)
	case c.AttachmentsCapacity < 0:
		return errors.New("--attachments-capacity: expected a size such as 4GiB")
	case c.BodiesCapacity < 0:
		return errors.New("--bodies-capacity: expected a size such as 1GiB")
	case c.BodiesAge < 0:
		return errors.New("--bodies-age: expected a duration such as 1h")
	case c.BodiesIndex < 0:
		return errors.New("--bodies-index: expected a size such as 32MiB")
	case c.BodiesCache < 0:
		return errors.New("--bodies-cache: expected a size such as 32MiB")
	case c.QuietAfter < 0:
		return errors.New("--quiet-after: expected a duration such as 1m, or 0")
	case c.QuietFeeds < 0:
		return errors.New("--quiet-feeds: expected a number such as 20")
	case c.Replicas < 0 || c.Replicas > 5:
		return fmt.Errorf("--replicas: expected 1 to 5, got %d", c.Replicas)
	case (c.CertFile == "") != (c.KeyFile == ""):
		return errors.New("--nats-cert and --nats-key: expected both or neither")
	}
	_, err := c.Secrets()
	return err
}
