package service

import "testing"

func TestBytesAreWrittenAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]Bytes{
		"4GiB": 4 << 30, "512MiB": 512 << 20, "1 TiB": 1 << 40, "1000": 1000, "3KiB": 3072,
	} {
		var b Bytes
		if err := b.Set(text); err != nil || b != want {
			t.Errorf("%s: %d, %v", text, b, err)
		}
		var again Bytes
		if err := again.Set(b.String()); err != nil || again != b {
			t.Errorf("%s is written as %s", text, b.String())
		}
	}
	for _, text := range []string{"", "0", "-1", "4GB", "GiB", "9999999999TiB", "1.5GiB"} {
		if b := Bytes(7); b.Set(text) == nil || b != 7 {
			t.Errorf("%q is taken for %d", text, b)
		}
	}
}

func TestCapacityComesFromTheEnvironmentAndIsChecked(t *testing.T) {
	t.Setenv("MILLRACE_ATTACHMENTS_CAPACITY", "8GiB")
	if c := FromEnvironment(); c.AttachmentsCapacity != 8<<30 || c.Check() != nil {
		t.Errorf("%d, %v", c.AttachmentsCapacity, c.Check())
	}
	t.Setenv("MILLRACE_ATTACHMENTS_CAPACITY", "much")
	if c := FromEnvironment(); c.Check() == nil {
		t.Errorf("taken for %d", c.AttachmentsCapacity)
	}
}
