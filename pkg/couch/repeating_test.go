package couch

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

func TestRepetitionsAreNumbered(t *testing.T) {
	var requests int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests++; requests < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Write([]byte(`{"db_name":"db"}`)) //nolint:errcheck // a test server
	}))
	defer server.Close()
	var numbers []int
	db, err := Open(Endpoint{URL: server.URL + "/db"}, Options{
		RetryInterval: time.Millisecond,
		Repeating: func(ctx context.Context, n int) context.Context {
			numbers = append(numbers, n)
			return ctx
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(numbers, []int{1, 2}) {
		t.Fatalf("repetitions %v", numbers)
	}
}
