// The program revs-diff asks targets which revisions of a batch they lack.
package main

import (
	"millrace/pkg/service"
	"millrace/services/revs-diff/revsdiff"
)

func main() {
	service.Main(revsdiff.Name, "asks targets which revisions of a batch they lack.", revsdiff.Serve)
}
