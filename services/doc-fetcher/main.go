// The program doc-fetcher reads missing revisions from sources and publishes their bodies.
package main

import (
	"millrace/pkg/service"
	"millrace/services/doc-fetcher/fetcher"
)

func main() {
	service.Main(fetcher.Name, "reads missing revisions from sources and publishes their bodies.", fetcher.Serve)
}
