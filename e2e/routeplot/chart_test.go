package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestAxesHaveWholeDecades(t *testing.T) {
	a := decades([]float64{2, 30, 4000}, 100, 500)
	if a.low != 0 || a.high != 4 || a.at(1) != 100 || a.at(10000) != 500 || a.at(100) != 300 {
		t.Errorf("%+v, 100 is at %v", a, a.at(100))
	}
}

func TestPlotIsAnImageWithEachLine(t *testing.T) {
	c := chart{title: "T", x: "X", y: "Y", xs: []float64{1, 10}, lines: []line{{"first", "#111", []float64{1, 5}}, {"second", "#222", []float64{3, 70}}}}
	text := string(c.svg())
	dec := xml.NewDecoder(strings.NewReader(text))
	for {
		_, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	for _, want := range []string{">T<", ">X<", ">Y<", ">first<", ">second<", "#111", "#222"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
}

func TestEverySelectorWantsItsDocument(t *testing.T) {
	selectors, err := ownersOf(3)
	if err != nil || len(selectors) != 3 {
		t.Fatal(selectors, err)
	}
	if n := len(document(1)); n < 900 || n > 1100 {
		t.Errorf("the document has %d bytes", n)
	}
}
