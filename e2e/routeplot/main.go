// Command routeplot measures what it costs to route a document to the jobs that want
// it, against the number of jobs, with pkg/routing and by evaluating one selector after
// the other. It draws a plot and prints the figures as a table.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "routing.svg", "the file of the plot")
	flag.Parse()
	if err := run(*out); err != nil {
		fmt.Fprintln(os.Stderr, "routeplot:", err)
		os.Exit(1)
	}
}

func run(out string) error {
	figures, err := measure([]int{1, 3, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000})
	if err != nil {
		return err
	}
	fmt.Println("| jobs | indexed, µs per document | one by one, µs per document | entering all jobs, ms |")
	fmt.Println("|---:|---:|---:|---:|")
	for _, f := range figures {
		fmt.Printf("| %d | %.1f | %.1f | %.2f |\n", f.jobs, f.indexed/1e3, f.oneByOne/1e3, f.build/1e6)
	}
	plot := chart{
		title: "Routing one document of 1 kB to the job that wants it",
		x:     "jobs on the feed", y: "µs per document, decoding included",
	}
	for _, f := range figures {
		plot.xs = append(plot.xs, float64(f.jobs))
	}
	plot.lines = []line{
		{"one by one", "#c2410c", values(figures, func(f figure) float64 { return f.oneByOne / 1e3 })},
		{"indexed", "#1d4ed8", values(figures, func(f figure) float64 { return f.indexed / 1e3 })},
	}
	if err := os.WriteFile(out, plot.svg(), 0o644); err != nil {
		return fmt.Errorf("write the plot: %w", err)
	}
	return nil
}

func values(figures []figure, of func(figure) float64) []float64 {
	var ys []float64
	for _, f := range figures {
		ys = append(ys, of(f))
	}
	return ys
}
