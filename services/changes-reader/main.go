// The program changes-reader reads the _changes feeds of sources and publishes them as batches of rows.
package main

import (
	"millrace/pkg/service"
	"millrace/services/changes-reader/reader"
)

func main() {
	service.Main(reader.Name, "reads the _changes feeds of sources and publishes them as batches of rows.", reader.Serve)
}
