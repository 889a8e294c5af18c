package pipelinetest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/encoding/prototext"

	"millrace/pkg/millpond"
	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/internal/databasetest"
	"millrace/services/internal/pipelinetest"
)

const (
	password = "p@ss/w:rd%hush"
	wrong    = "wr@ng/hush"
	token    = "hush-token-0815"
	jwt      = "hush-bearer.4711.token"
	apiKey   = "hush-api-key-4711"
	// iamToken is what the API key is exchanged for.
	iamToken = "hush-iam-token-4711"
	proxied  = "hush@proxy/pass"
	pemKey   = "-----BEGIN PRIVATE KEY-----\nhushhushhush\n-----END PRIVATE KEY-----"
	inFile   = "hush-in-a-file-0815"
)

// forms are the ways in which a secret could be written down.
func forms() [][]byte {
	var all [][]byte
	for _, secret := range []string{password, wrong, token, jwt, apiKey, iamToken, proxied, pemKey, "hushhushhush", inFile} {
		for _, form := range []string{
			secret, url.QueryEscape(secret), url.PathEscape(secret), url.UserPassword("joe", secret).String(),
			base64.StdEncoding.EncodeToString([]byte("joe:" + secret)), base64.StdEncoding.EncodeToString([]byte(secret)),
		} {
			all = append(all, []byte(form))
		}
	}
	return all
}

func check(t *testing.T, where string, what []byte) {
	t.Helper()
	for _, form := range forms() {
		if i := bytes.Index(what, form); i >= 0 {
			t.Errorf("%s has a secret: %q", where, what[max(0, i-40):min(len(what), i+len(form)+10)])
			return
		}
	}
}

// written is a log or anything else that is written by several goroutines.
type written struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(p)
}

func (w *written) Bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return bytes.Clone(w.buf.Bytes())
}

// Invariant 9: a job that works, one whose password is wrong and one whose server fails
// write nothing down that opens a database, but for the bucket of endpoints without a key.
func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{"with a key": base64.StdEncoding.EncodeToString(make([]byte, 32)), "without a key": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			open := millpond.Options{AdminUser: "joe", AdminPassword: password}
			source, target, failing := databasetest.New(t, open), databasetest.New(t, open), databasetest.New(t, open)
			source.Fill(t, 0, 5)
			failing.Server.Inject(millpond.Fault{Match: millpond.Matching("", "/_bulk_docs"), Status: 503, Body: `{"error":"x"}`})
			log, status := &written{}, &written{}
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All(), SealKey: key, Log: log})
			sub, err := p.Broker().Conn().Subscribe(p.Broker().Subjects().Status("*"), func(m *nats.Msg) { status.Write(m.Data) }) //nolint:errcheck // to memory
			if err != nil {
				t.Fatal(err)
			}
			defer sub.Unsubscribe() //nolint:errcheck // the broker ends with the test

			auth := func(d *databasetest.Database, secret string) string {
				return fmt.Sprintf(`{"url":%q,"auth":{"basic":{"username":"joe","password":%q}},"headers":{"X-Token":%q}}`, d.URL, secret, token)
			}
			submit := func(target string) *millracev1.Job {
				return p.SubmitDocument([]byte(`{"source":` + auth(source, password) + `,"target":` + target + `,"retries_per_request":0,"checkpoint_interval":20}`))
			}
			jobs := []*millracev1.Job{submit(auth(target, password))}
			p.Finish(jobs[0].Id)
			for _, target := range []string{auth(target, wrong), auth(failing, password)} {
				job := submit(target)
				jobs = append(jobs, p.AwaitJob(job.Id, "crashes", func(j *millracev1.Job) bool { return j.State == string(replication.Crashing) }))
			}
			for _, job := range jobs {
				check(t, "job", []byte(prototext.Format(p.Job(job.Id))))
			}
			scan(t, p, key == "")
			check(t, "status", status.Bytes())
			check(t, "log", log.Bytes())
			if !bytes.Contains(log.Bytes(), []byte("run begins")) {
				t.Error("nothing was logged: the test proves nothing")
			}
		})
	}
}

// Each way to log in and to connect has secrets of its own; whether it works or is refused, none of
// them is written down (invariant 9).
func TestSecretsOfEveryWayToLogInStaySecret(t *testing.T) {
	for name, key := range map[string]string{"with a key": base64.StdEncoding.EncodeToString(make([]byte, 32)), "without a key": ""} {
		t.Run(name, func(t *testing.T) {
			collected(t)
			source, target := databasetest.New(t, millpond.Options{}), databasetest.New(t, millpond.Options{})
			source.Fill(t, 0, 3)
			exchange := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.FormValue("apikey") != apiKey {
					http.Error(w, `{"errorCode":"BXNIM0415E","errorMessage":"no such key"}`, http.StatusBadRequest)
					return
				}
				fmt.Fprintf(w, `{"access_token":%q,"expires_in":3600}`, iamToken) //nolint:errcheck // to a test
			}))
			t.Cleanup(exchange.Close)
			closed := httptest.NewServer(nil)
			closed.Close()
			file := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(file, []byte(inFile), 0o600); err != nil {
				t.Fatal(err)
			}
			log := &written{}
			p := pipelinetest.Start(t, pipelinetest.Options{Services: pipelinetest.All(), SealKey: key, Log: log, AnySecret: true})
			proxy := func(at string) string {
				u, err := url.Parse(at)
				if err != nil {
					t.Fatal(err)
				}
				u.User = url.UserPassword("joe", proxied)
				return u.String()
			}
			for member, works := range map[string]bool{
				fmt.Sprintf(`"auth":{"bearer":{"token":%q}}`, jwt):                                              true,
				fmt.Sprintf(`"auth":{"bearer":{"token_file":%q}}`, file):                                        true,
				fmt.Sprintf(`"auth":{"iam":{"api_key":%q,"token_url":%q}}`, apiKey, exchange.URL):               true,
				fmt.Sprintf(`"auth":{"iam":{"api_key":%q,"token_url":%q}}`, apiKey+"x", exchange.URL):           false,
				fmt.Sprintf(`"auth":{"iam":{"api_key":%q,"token_url":%q}}`, apiKey, closed.URL):                 false,
				fmt.Sprintf(`"proxy":%q`, proxy(closed.URL)):                                                    false,
				fmt.Sprintf(`"proxy":%q`, proxy(strings.Replace(closed.URL, "http", "socks5", 1))):              false,
				fmt.Sprintf(`"proxy":%q`, proxy(exchange.URL)):                                                  false,
				fmt.Sprintf(`"tls":{"cert":"c","key":%q}`, pemKey):                                              false,
				fmt.Sprintf(`"tls":{"ca_file":%q}`, file):                                                       false,
				fmt.Sprintf(`"auth":{"basic":{"username":"joe","password_file":%q}},"headers":{"a":"b"}`, file): false,
			} {
				job := p.SubmitDocument([]byte(fmt.Sprintf(`{"source":{"url":%q,%s},"target":%q,"retries_per_request":0}`, source.URL, member, target.URL)))
				if works {
					p.Finish(job.Id)
				} else {
					job = p.AwaitJob(job.Id, "crashes", func(j *millracev1.Job) bool { return j.State == string(replication.Crashing) })
				}
				check(t, "job", []byte(prototext.Format(p.Job(job.Id))))
				p.Cancel(job.Id)
			}
			scan(t, p, key == "")
			check(t, "log", log.Bytes())
		})
	}
}

// collected makes the test's pipelines export their traces, and checks them when the pipelines have ended.
func collected(t *testing.T) {
	t.Helper()
	traces := &written{}
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(traces, r.Body) //nolint:errcheck // to memory
	}))
	t.Cleanup(func() {
		collector.Close()
		check(t, "traces", traces.Bytes())
		if !bytes.Contains(traces.Bytes(), []byte("_bulk_docs")) {
			t.Error("nothing was traced: the test proves nothing")
		}
	})
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
}

// scan reads all that is in the broker.
func scan(t *testing.T, p *pipelinetest.Pipeline, readable bool) {
	t.Helper()
	names := p.Broker().JetStream().StreamNames(p.Context())
	messages := 0
	for name := range names.Name() {
		if readable && strings.HasSuffix(name, p.Broker().Buckets().Endpoints) {
			continue
		}
		for _, e := range p.Messages(name, ">") {
			messages++
			check(t, "stream "+name, e.Data)
			check(t, "a subject of "+name, []byte(e.Subject))
			check(t, "a header in "+name, fmt.Append(nil, e.Header))
		}
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	if messages == 0 {
		t.Error("nothing was there: the test proves nothing")
	}
}
