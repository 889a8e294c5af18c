package peer

import (
	"os"
	"strings"
	"testing"
)

func TestNamedServersComeFromAListOfURLs(t *testing.T) {
	for list, want := range map[string]string{
		"":                               "",
		" , ":                            "",
		"http://a:b@h:1/":                "couchdb1 http://a:b@h:1",
		"http://h:1, https://x/couch/ ,": "couchdb1 http://h:1 couchdb2 https://x/couch",
	} {
		servers, err := named(list)
		if err != nil {
			t.Errorf("%q: %v", list, err)
		}
		var got []string
		for _, s := range servers {
			got = append(got, s.Name, s.URL)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q gave %v, want %s", list, got, want)
		}
	}
}

func TestNamedRefusesWhatIsNoURLWithoutShowingIt(t *testing.T) {
	_, err := named("adm:secret@127.0.0.1:5984")
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestFailuresToReachAServerHideThePassword(t *testing.T) {
	s := Server{URL: "http://adm:secret@127.0.0.1:1"}
	err := s.send(t.Context(), "PUT", s.URL+"/db", 201)
	if err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestPouchDBEndsWithItsInputAndSaysSo(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: without npm")
	}
	p, err := startPouchDB(t.Context(), t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.dead(); err != nil {
		t.Errorf("dead at birth: %v", err)
	}
	if err := p.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if p.dead() == nil {
		t.Error("alive after its end")
	}
}

func TestInstallLeavesNothingAfterAFailure(t *testing.T) {
	root := t.TempDir()
	t.Setenv("PATH", "") // no npm
	if err := install(t.Context(), root, root+"/whole"); err == nil {
		t.Fatal("installed without npm")
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
		t.Errorf("left are %v, %v", entries, err)
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var kept tail
	for range 3 {
		_, _ = kept.Write([]byte(strings.Repeat("x", tailBytes)))
	}
	_, _ = kept.Write([]byte("end"))
	if got := kept.String(); len(got) != tailBytes || !strings.HasSuffix(got, "xend") {
		t.Errorf("kept %d bytes", len(got))
	}
}
