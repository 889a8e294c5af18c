package millpond_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"millrace/pkg/millpond"
)

// batchSize is how many documents of 1 kB go into a request: 0.5 MB.
const batchSize = 500

// payload makes a document of about 1 kB, different for each id.
func payload(i int) string {
	return fmt.Sprintf(`{"_id":"doc-%09d","_rev":"1-%032x","_revisions":{"start":1,"ids":["%032x"]},`+
		`"type":"order","number":%d,"owner":"user%d","items":[%s],"note":"%s"}`,
		i, i, i, i, i%1000, strings.TrimSuffix(strings.Repeat(`{"sku":"abc","count":2,"price":12.50},`, 8), ","),
		strings.Repeat("lorem ipsum ", 45))
}

func bulkBody(first, n int) string {
	var b strings.Builder
	b.WriteString(`{"new_edits":false,"docs":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(payload(first + i))
	}
	b.WriteString("]}")
	return b.String()
}

// benchClient keeps its connection.
func benchClient(b *testing.B) *http.Client {
	c := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	b.Cleanup(c.CloseIdleConnections)
	return c
}

func post(b *testing.B, c *http.Client, url, body string) int64 {
	b.Helper()
	resp, err := c.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		b.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
	_ = resp.Body.Close()
	return n
}

// BenchmarkBulkDocs writes new documents with new_edits=false; a request's body is
// made while the clock stands still.
func BenchmarkBulkDocs(b *testing.B) {
	db := serve(b, millpond.Options{}).database(b)
	c := benchClient(b)
	docs := 0
	for b.Loop() {
		b.StopTimer()
		body := bulkBody(docs, batchSize)
		b.StartTimer()
		post(b, c, db.url+"/"+db.name+"/_bulk_docs", body)
		docs += batchSize
		b.SetBytes(int64(len(body)))
	}
	b.ReportMetric(float64(docs)/b.Elapsed().Seconds(), "docs/s")
}

func loaded(b *testing.B, docs int) *database {
	b.Helper()
	db := serve(b, millpond.Options{}).database(b)
	c := benchClient(b)
	for i := 0; i < docs; i += batchSize {
		post(b, c, db.url+"/"+db.name+"/_bulk_docs", bulkBody(i, batchSize))
	}
	return db
}

func BenchmarkBulkGet(b *testing.B) {
	db := loaded(b, 20_000)
	c := benchClient(b)
	var body strings.Builder
	body.WriteString(`{"docs":[`)
	for i := range batchSize {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"id":"doc-%09d","rev":"1-%032x"}`, i*37, i*37)
	}
	body.WriteString(`]}`)
	docs := 0
	for b.Loop() {
		b.SetBytes(post(b, c, db.url+"/"+db.name+"/_bulk_get?revs=true&latest=true", body.String()))
		docs += batchSize
	}
	b.ReportMetric(float64(docs)/b.Elapsed().Seconds(), "docs/s")
}

func BenchmarkRevsDiff(b *testing.B) {
	db := loaded(b, 20_000)
	c := benchClient(b)
	var body strings.Builder
	body.WriteByte('{')
	for i := range batchSize {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `"doc-%09d":["1-%032x"]`, i*37+i%2, i*37)
	}
	body.WriteByte('}')
	docs := 0
	for b.Loop() {
		b.SetBytes(post(b, c, db.url+"/"+db.name+"/_revs_diff", body.String()))
		docs += batchSize
	}
	b.ReportMetric(float64(docs)/b.Elapsed().Seconds(), "docs/s")
}

func BenchmarkChanges(b *testing.B) {
	const docs = 50_000
	db := loaded(b, docs)
	c := benchClient(b)
	for _, query := range []string{"style=all_docs", "style=all_docs&seq_interval=500", "include_docs=true"} {
		b.Run(query, func(b *testing.B) {
			rows := 0
			for b.Loop() {
				resp, err := c.Get(db.url + "/" + db.name + "/_changes?" + query)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, resp.Body)
				if err != nil {
					b.Fatal(err)
				}
				_ = resp.Body.Close()
				b.SetBytes(n)
				rows += docs
			}
			b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkFootprint reports the memory that a document of 100 bytes takes.
func BenchmarkFootprint(b *testing.B) {
	const docs = 100_000
	for b.Loop() {
		before := heap()
		pond := serve(b, millpond.Options{})
		db := pond.database(b)
		c := benchClient(b)
		for i := 0; i < docs; i += batchSize {
			var body strings.Builder
			body.WriteString(`{"new_edits":false,"docs":[`)
			for j := i; j < i+batchSize; j++ {
				if j > i {
					body.WriteByte(',')
				}
				fmt.Fprintf(&body, `{"_id":"doc-%09d","_rev":"1-%032x","note":"%s"}`, j, j, strings.Repeat("lorem ", 15))
			}
			body.WriteString("]}")
			post(b, c, db.url+"/"+db.name+"/_bulk_docs", body.String())
		}
		b.ReportMetric(float64(heap()-before)/docs, "B/doc")
		runtime.KeepAlive(pond)
	}
}

// heap is the number of bytes in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
