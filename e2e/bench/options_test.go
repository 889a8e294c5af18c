package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"
)

func TestOptionsHaveTheDefaultsOfTheDesign(t *testing.T) {
	o, err := parseOptions([]string{"-source", "http://a", "-target", "http://b"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o.docs != 50000 || o.size != 1000 || o.runs != 3 || o.changes < 200 || !o.wants("one") || !o.wants("latency") ||
		o.attachments != 2000 || o.attachmentSize != 10000 || o.rtt != 100*time.Millisecond || !o.wants("attachments") || !o.wants("attachments-far") || o.wants("") {
		t.Errorf("got %+v", o)
	}
}

func TestOptionsThatCannotBeMeasuredAreRefused(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"", "-source and -target"},
		{"-source http://a", "-source and -target"},
		{"-source http://a -target http://b -rows one,two", `no row "two"`},
		{"-source http://a -target http://b -size 10", "-size: 10"},
		{"-source http://a -target http://b -runs 0", "-runs: 0"},
		{"-source http://a -target http://b -in-flight 0", "-in-flight: 0"},
		{"-source http://a -target http://b -large 0", "-large: 0"},
		{"-source http://a -target http://b -rtt -1s", "-rtt: -1s"},
		{"-source http://a -target http://b more", `"more"`},
		{"-docs many", "invalid value"},
	} {
		_, err := parseOptions(strings.Fields(c.args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %q", c.args, err, c.says)
		}
	}
}

func TestHelpExplainsEveryRow(t *testing.T) {
	var out strings.Builder
	if _, err := parseOptions([]string{"-h"}, &out); !errors.Is(err, flag.ErrHelp) {
		t.Fatal(err)
	}
	for _, name := range rowNames() {
		if !strings.Contains(out.String(), "\n  "+name+" ") {
			t.Errorf("nothing on %s in\n%s", name, &out)
		}
	}
}

func TestReportedSettingHoldsNoURL(t *testing.T) {
	o, err := parseOptions([]string{"-source", "http://joe:s3cret@a", "-target", "http://b"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range o.setting() {
		if strings.Contains(value, "s3cret") {
			t.Errorf("%s is %q", name, value)
		}
	}
}
