package main

import (
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"millrace/pkg/broker"
)

// runBroker runs a broker until the command is told to stop. The first line of its
// output is the URL for clients.
func runBroker(cmd *cobra.Command, dir, listen string, log *slog.Logger) error {
	e, err := broker.StartEmbedded(cmd.Context(), broker.EmbeddedOptions{DataDir: dir, Listen: listen, Logger: log})
	if err != nil {
		return failedError(err)
	}
	fmt.Fprintln(cmd.OutOrStdout(), e.ClientURL())
	<-cmd.Context().Done()
	if err := e.Close(); err != nil {
		return failedError(err)
	}
	return nil
}
