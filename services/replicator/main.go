// The program replicator owns jobs, their runs, watermarks and checkpoints.
package main

import (
	"millrace/pkg/service"
	"millrace/services/replicator/replicator"
)

func main() {
	service.Main(replicator.Name, "owns jobs, their runs, watermarks and checkpoints.", replicator.Serve)
}
