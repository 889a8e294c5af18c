package service

import (
	"reflect"
	"testing"

	"github.com/spf13/pflag"

	"millrace/pkg/broker"
)

func TestBrokerIsNamedByTheEnvironmentAndByFlags(t *testing.T) {
	for name, value := range map[string]string{
		"MILLRACE_NATS": "nats://env", "MILLRACE_NATS_CREDS": "env.creds", "MILLRACE_NATS_CA": "env-ca.pem",
		"MILLRACE_NATS_CERT": "env-cert.pem", "MILLRACE_NATS_KEY": "env-key.pem", "MILLRACE_NAMESPACE": "env",
	} {
		t.Setenv(name, value)
	}
	told := broker.Options{
		URL: "nats://env", CredsFile: "env.creds", Namespace: "env",
		TLS: broker.TLSFiles{CA: "env-ca.pem", Cert: "env-cert.pem", Key: "env-key.pem"},
	}
	c := FromEnvironment()
	if got := c.brokerOptions(); !reflect.DeepEqual(got, told) {
		t.Errorf("by the environment: %+v", got)
	}

	f := pflag.NewFlagSet("test", pflag.ContinueOnError)
	c.Flags(f)
	if err := f.Parse([]string{
		"--nats", "tls://flag", "--nats-creds", "flag.creds", "--nats-ca", "flag-ca.pem",
		"--nats-cert", "flag-cert.pem", "--nats-key", "flag-key.pem", "--namespace", "flag", "--replicas", "3",
	}); err != nil {
		t.Fatal(err)
	}
	told = broker.Options{
		URL: "tls://flag", CredsFile: "flag.creds", Namespace: "flag", Replicas: 3,
		TLS: broker.TLSFiles{CA: "flag-ca.pem", Cert: "flag-cert.pem", Key: "flag-key.pem"},
	}
	if got := c.brokerOptions(); !reflect.DeepEqual(got, told) {
		t.Errorf("by flags: %+v", got)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}
