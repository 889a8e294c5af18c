package main

import (
	"path/filepath"

	"github.com/spf13/cobra"

	"millrace/pkg/service"
	"millrace/services/millrace/node"
)

func newServeCommand() *cobra.Command {
	c := service.FromEnvironment()
	var data, listen, uuid string
	var workers int
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run every service of the pipeline in one process",
		Long: `Runs every service of the pipeline in one process, with an embedded broker whose
streams are in the data directory, or on the NATS broker that --nats names.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.Check(); err != nil {
				return usageError(err)
			}
			log, err := service.NewLogger(c, cmd.ErrOrStderr())
			if err != nil {
				return usageError(err)
			}
			dir, err := stateDir(data)
			if err != nil {
				return usageError(err)
			}
			n, err := node.Start(cmd.Context(), node.Options{
				Config: c, DataDir: filepath.Join(dir, "serve"), Listen: listen, PerJob: workers,
				UUID: uuid, UUIDFile: filepath.Join(dir, "uuid"), Log: log,
			})
			if err != nil {
				return failedError(err)
			}
			log.Info("serving", "version", service.Version(), "broker", n.ClientURL())
			<-cmd.Context().Done()
			log.Info("stopping")
			if err := n.Stop(); err != nil {
				return failedError(err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	c.Flags(f)
	f.StringVar(&data, "data", "", "data directory ($MILLRACE_DATA; default $XDG_STATE_HOME/millrace)")
	f.StringVar(&listen, "listen", "", "host:port where the embedded broker takes NATS clients (default: nowhere)")
	f.StringVar(&uuid, "uuid", "", "this server's uuid, part of every replication id (default: kept in the data directory)")
	f.IntVar(&workers, "workers", service.DefaultPerJob, "batches of a job that each stage works on at once where the job does not say; no job gets more than twice as many")
	return cmd
}

func newBrokerCommand() *cobra.Command {
	c := service.FromEnvironment()
	var data, listen string
	cmd := &cobra.Command{
		Use:   "broker",
		Short: "Run the embedded broker alone, for services in other processes",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := service.NewLogger(c, cmd.ErrOrStderr())
			if err != nil {
				return usageError(err)
			}
			dir, err := stateDir(data)
			if err != nil {
				return usageError(err)
			}
			return runBroker(cmd, filepath.Join(dir, "broker"), listen, log)
		},
	}
	f := cmd.Flags()
	c.LogFlags(f)
	f.StringVar(&data, "data", "", "data directory ($MILLRACE_DATA; default $XDG_STATE_HOME/millrace)")
	f.StringVar(&listen, "listen", "127.0.0.1:4222", "host:port to take NATS clients at; port 0 takes a free one")
	return cmd
}
