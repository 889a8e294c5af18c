// The program bulk-writer applies fetched revisions to targets.
package main

import (
	"millrace/pkg/service"
	"millrace/services/bulk-writer/writer"
)

func main() {
	service.Main(writer.Name, "applies fetched revisions to targets.", writer.Serve)
}
