// Package inventory checks docs/TESTS.md, the table of CouchDB's tests of its replicator and ours.
package inventory

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// named is a test as the table has it: its file from the repository's root, and its name.
var named = regexp.MustCompile("`([a-z0-9_/-]+_test\\.go):((?:Test|Fuzz)[A-Za-z0-9_]+)`")

func table(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "TESTS.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTestsOfTheTableExist(t *testing.T) {
	found := named.FindAllStringSubmatch(table(t), -1)
	if len(found) < 80 {
		t.Fatalf("only %d tests were found in the table", len(found))
	}
	files := map[string]string{}
	for _, m := range found {
		file, name := m[1], m[2]
		if files[file] == "" {
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			files[file] = string(text)
		}
		if !strings.Contains(files[file], "\nfunc "+name+"(") {
			t.Errorf("%s has no %s", file, name)
		}
	}
}

// A row without a test says to which issue it is left, or why it does not apply.
func TestEveryRowOfTheTableIsProvedOrExplained(t *testing.T) {
	rows := 0
	for line := range strings.Lines(table(t)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) != 3 || strings.Contains(line, "CouchDB's test |") {
			continue
		}
		rows++
		reason := cells[2]
		if !named.MatchString(cells[1]) && !strings.Contains(reason, "issue 4") && !strings.Contains(reason, "issue 5") &&
			!strings.Contains(reason, "does not apply: ") {
			t.Errorf("neither proved nor explained: %s", strings.TrimSpace(line))
		}
	}
	if rows < 75 {
		t.Errorf("only %d rows were found", rows)
	}
}
