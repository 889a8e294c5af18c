// The program millrace replicates CouchDB-protocol databases: every service of the
// pipeline in one process, and the command line.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"millrace/pkg/service"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal ends the work in order, with a last checkpoint; the second one at once.
	context.AfterFunc(ctx, stop)
	go service.LimitMemory(ctx)
	root := newRootCommand()
	err := root.ExecuteContext(ctx)
	var code *exitError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		if code.err != nil {
			fmt.Fprintf(os.Stderr, "millrace: %v\n", code.err)
		}
		return code.code
	default: // cobra's own: unknown commands and flags
		fmt.Fprintf(os.Stderr, "millrace: %v\nSee millrace --help.\n", err)
		return exitUsage
	}
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "millrace",
		Short: "Replicate CouchDB-protocol databases through durable streams",
		Long: `Millrace replicates databases that speak CouchDB's protocol (Apache CouchDB, IBM
Cloudant, PouchDB Server) as a pipeline of services on NATS JetStream.

` + exitCodes,
		Version:       service.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newReplicateCommand(), newVerifyCommand(), newFailuresCommand(), newServeCommand(), newBrokerCommand(), newDemoCommand())
	return root
}
