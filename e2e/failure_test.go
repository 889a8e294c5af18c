package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"millrace/e2e/chaosproxy"
	"millrace/e2e/compare"
	"millrace/e2e/dataset"
	"millrace/e2e/peer"
	"millrace/e2e/program"
	"millrace/pkg/millpond"
)

func TestDocumentsThatTheTargetRefusesAreCountedAndTheRestArrives(t *testing.T) {
	_, target := pond(t, millpond.Options{Validate: func(_, id string, doc []byte) error {
		if strings.HasSuffix(id, "7") {
			return millpond.Forbidden("no sevens")
		}
		return nil
	}})
	s := onMillponds(t)
	s.target = target + "/refusing"
	s.fill(dataset.Bulk(100, 300))
	summary := s.replicate("--create-target").Exited(program.ExitRejected)
	if summary.DocWriteFailures != 10 || summary.DocsWritten != 90 || summary.DocsRead != 100 {
		t.Errorf("summary: %+v", summary)
	}
	o := compare.For(s.pair)
	o.Wanted = func(id string) bool { return !strings.HasSuffix(id, "7") }
	compare.Require(t, s.source, s.target, o)

	// They are recorded, and a checkpoint covers them (invariant 1).
	if again := s.replicate().Completed(); again.MissingChecked != 0 {
		t.Errorf("second run: %+v", again)
	}
}

func TestRealCouchDBRefusesByItsValidationFunction(t *testing.T) {
	for _, server := range peer.OfKind(t, peer.CouchDB) {
		s := between(t, peer.Pair{Source: server, Target: server})
		s.fill(dataset.Bulk(50, 300))
		put(t, s.target, "/_design/refuse", `{"validate_doc_update":"function (doc) { if (/7$/.test(doc._id)) { throw({forbidden: 'no sevens'}); } }"}`)
		if summary := s.replicate().Exited(program.ExitRejected); summary.DocWriteFailures != 5 || summary.DocsWritten != 45 {
			t.Errorf("summary: %+v", summary)
		}
	}
}

func TestRealCouchDBsPartitionedTargetTakesWhatHasAPartition(t *testing.T) {
	for _, server := range peer.OfKind(t, peer.CouchDB) {
		s := between(t, peer.Pair{Source: server, Target: server})
		s.target = server.AbsentDB(t)
		s.deleteAfterwards(s.target)
		put(t, s.target, "?partitioned=true", "")
		for i := range 10 {
			put(t, s.source, fmt.Sprintf("/fits:%d", i), `{}`)
			put(t, s.source, fmt.Sprintf("/not-%d", i), `{"_attachments":{"text":{"content_type":"text/plain","data":"d2hlZWw="}}}`)
			put(t, s.source, fmt.Sprintf("/neither-%d", i), `{}`)
		}
		if summary := s.replicate().Exited(program.ExitRejected); summary.DocWriteFailures != 20 || summary.DocsWritten != 10 {
			t.Errorf("summary: %+v", summary)
		}
		o := compare.For(s.pair)
		o.Wanted = func(id string) bool { return strings.HasPrefix(id, "fits:") }
		compare.Require(t, s.source, s.target, o)
	}
}

// Validation functions are programs: they fail, and throw what nobody expects. Documents
// with attachments are written alone, and answered otherwise.
func TestRealCouchDBsBrokenValidationFunctionStopsNothing(t *testing.T) {
	for _, server := range peer.OfKind(t, peer.CouchDB) {
		s := between(t, peer.Pair{Source: server, Target: server})
		for _, kind := range []string{"plain", "text"} {
			for _, does := range []string{"fails", "throws-text", "throws-object", "forbids-with-object", "accepts"} {
				attached := ""
				if kind == "text" {
					attached = `"_attachments":{"text":{"content_type":"text/plain","data":"d2hlZWw="}}`
				}
				put(t, s.source, "/"+kind+"-"+does, `{`+attached+`}`)
			}
		}
		put(t, s.target, "/_design/broken", `{"validate_doc_update":"function (doc) {`+
			` if (/-fails/.test(doc._id)) { doc.a.b.c; }`+
			` if (/-throws-text/.test(doc._id)) { throw 'text'; }`+
			` if (/-throws-object/.test(doc._id)) { throw({no: 'refusal'}); }`+
			` if (/-forbids-with-object/.test(doc._id)) { throw({forbidden: {why: 1}}); } }"}`)
		if summary := s.replicate().Exited(program.ExitRejected); summary.DocWriteFailures != 8 || summary.DocsWritten != 2 {
			t.Errorf("summary: %+v", summary)
		}
	}
}

func TestReplicationThatCannotBeginFailsAtOnceInCouchDBsWords(t *testing.T) {
	eachPair(t, func(s scenario) {
		wrongPassword := func(address string) string {
			u, err := url.Parse(address)
			if err != nil {
				s.Fatal(err)
			}
			// Nobody's name: CouchDB locks a name out after a few wrong passwords.
			u.User = url.UserPassword("nobody-"+strings.TrimLeft(u.Path, "/"), "Wr0ng-Secret")
			return u.String()
		}
		cases := map[string]struct {
			source, target string
			says           string
			applies        bool
		}{
			"source missing":       {s.pair.Source.AbsentDB(s.T), s.target, "db_not_found: could not open ", true},
			"target missing":       {s.source, s.pair.Target.AbsentDB(s.T), "db_not_found: could not open ", true},
			"source: wrong secret": {wrongPassword(s.source), s.target, "unauthorized", s.pair.Source.Kind != peer.PouchDB},
			"target: wrong secret": {s.source, wrongPassword(s.target), "unauthorized", s.pair.Target.Kind != peer.PouchDB},
		}
		for name, c := range cases {
			if !c.applies {
				continue
			}
			s.Run(name, func(t *testing.T) {
				r := program.Replicate(t, c.source, c.target)
				summary := r.Exited(program.ExitFailed)
				if !strings.Contains(r.Stderr.String(), c.says) {
					t.Errorf("stderr: %s", r.Stderr)
				}
				if summary.OK || summary.State != "failed" {
					t.Errorf("summary: %+v", summary)
				}
				for _, e := range r.Events() {
					if e.ErrorCount > 1 {
						t.Errorf("it was tried again: %+v", e)
					}
				}
			})
		}
	})
}

func TestInterruptedReplicationGoesOnWhereItStopped(t *testing.T) {
	const n, batch, passing = 2000, 20, 40
	s := onMillponds(t)
	s.fill(dataset.Bulk(n, 300))
	direct := s
	// Of 100 requests 40 are answered and the others hang, until the first is gone.
	hanging := through(t, &s.target).Add(chaosproxy.Rule{
		Match: chaosproxy.On(chaosproxy.BulkDocs), Skip: passing, Do: chaosproxy.Hang(),
	})
	args := []string{"--batch-size", fmt.Sprint(batch), "--checkpoint-interval", "100ms"}
	first := s.replicate(args...)
	first.Until(func(e program.Event) bool { return e.Type == "progress" && e.DocsWritten > 0 })
	if code := first.Interrupt(); code != program.ExitInterrupted {
		t.Errorf("exit code %d after Ctrl-C", code)
	}
	done := first.Summary()
	if done.OK || done.DocsWritten > passing*batch {
		t.Errorf("summary of the first: %+v", done)
	}
	hanging.Remove()

	second := s.replicate(args...).Completed()
	if second.MissingChecked > n-done.MissingChecked || second.DocsWritten > n-done.DocsWritten {
		t.Errorf("the first had done %+v, the second did %+v", done.Counters, second.Counters)
	}
	t.Logf("of %d documents the first wrote %d at least; the second looked at %d and wrote %d",
		n, done.DocsWritten, second.MissingChecked, second.DocsWritten)
	direct.same()
}

// secret is a password as nobody has it, so that a search finds it alone.
const secret = "Gr1st-M1ll/Race?#"

func TestCredentialsAreTakenFromURLEnvironmentAndNetrcAndNeverPrinted(t *testing.T) {
	_, source := pond(t, millpond.Options{AdminUser: "miller", AdminPassword: secret})
	_, target := pond(t, millpond.Options{AdminUser: "miller", AdminPassword: secret})
	admin := func(address string) string {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword("miller", secret)
		return u.String()
	}
	put(t, admin(source), "/db", "")
	put(t, admin(source), "/db/doc", `{"v":1}`)
	netrc := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(netrc, fmt.Appendf(nil, "machine 127.0.0.1 login miller password %s\n", secret), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args  []string
		env   []string
		fails bool
	}{
		"url": {args: []string{admin(source) + "/db", admin(target) + "/url"}},
		"environment": {
			args: []string{source + "/db", target + "/environment"},
			env: []string{
				"MILLRACE_SOURCE_USER=miller", "MILLRACE_SOURCE_PASSWORD=" + secret,
				"MILLRACE_TARGET_USER=miller", "MILLRACE_TARGET_PASSWORD=" + secret,
			},
		},
		"netrc":     {args: []string{source + "/db", target + "/netrc"}, env: []string{"NETRC=" + netrc}},
		"not there": {args: []string{admin(source) + "/absent", admin(target) + "/absent"}, fails: true},
		"file": {args: []string{
			strings.Replace(source, "//", "//miller@", 1) + "/db", admin(target) + "/file", "--source-password-file", file,
		}},
		"refused token": {
			args: []string{source + "/db", admin(target) + "/token"}, env: []string{"MILLRACE_SOURCE_TOKEN=" + secret}, fails: true,
		},
		"dead proxy": {
			args: []string{admin(source) + "/db", admin(target) + "/proxy", "--retries-per-request", "0", "--retries", "1"},
			env:  []string{"MILLRACE_SOURCE_PROXY=" + strings.Replace(admin("http://127.0.0.1:1"), "http:", "socks5:", 1)}, fails: true,
		},
		"dead exchange": {
			args: []string{
				source + "/db", admin(target) + "/iam", "--source-iam-key-file", file, "--source-iam-url", "http://127.0.0.1:1/token",
				"--retries-per-request", "0", "--retries", "1",
			},
			fails: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, json := range []string{"--json=true", "--json=false"} {
				p := program.Start(t, program.Millrace,
					append([]string{"replicate", "--create-target", "--log-level", "debug", json}, c.args...), c.env...)
				want := program.ExitOK
				if c.fails {
					want = program.ExitFailed
				}
				if code := p.Wait(); code != want {
					t.Errorf("exit code %d: %s", code, p.Stderr)
				}
				for _, out := range []*program.Output{p.Stdout, p.Stderr} {
					for _, s := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), "Gr1st"} {
						if strings.Contains(out.String(), s) {
							t.Errorf("it prints %q: %s", s, out)
						}
					}
				}
			}
		})
	}
}

func TestSealedCredentialsAreNotOnTheBrokersDisk(t *testing.T) {
	_, source := pond(t, millpond.Options{AdminUser: "miller", AdminPassword: secret})
	_, target := pond(t, millpond.Options{})
	u, err := url.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("miller", secret)
	put(t, u.String(), "/db", "")
	put(t, u.String(), "/db/doc", `{"v":"a body is on the disk"}`)
	data := t.TempDir()
	p := program.Start(t, program.Millrace, []string{"replicate", "--continuous", "--create-target", "--json", "--data", data, u.String() + "/db", target + "/db"},
		"MILLRACE_SEAL_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
	p.WaitLine(p.Stdout, func(line string) bool { return strings.Contains(line, `"docs_written":1`) })
	p.Kill()
	found := errors.New("found")
	err = filepath.WalkDir(data, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte("Gr1st")) {
			return fmt.Errorf("%w in %s", found, entry.Name())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestTargetWithoutRootAccessStillWorks(t *testing.T) {
	// A proxy may let databases through and nothing else.
	_, target := pond(t, millpond.Options{})
	s := onMillponds(t)
	s.fill(dataset.Awkward)
	put(t, target, "/db", "")
	s.target = target + "/db"
	direct := s
	proxy := through(t, &s.target)
	proxy.Add(rootRefused())
	s.replicate().Completed()
	direct.same()
	if status := ask(t, http.MethodGet, strings.TrimSuffix(s.target, "db"), "", nil); status != http.StatusForbidden {
		t.Errorf("the root answers %d", status)
	}
}
