package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagGroup is flags of a command that its help shows together.
type flagGroup struct {
	title string
	flags *pflag.FlagSet
}

// group makes a group of the flags that add adds.
func group(title string, add func(*pflag.FlagSet)) flagGroup {
	f := pflag.NewFlagSet(title, pflag.ContinueOnError)
	add(f)
	return flagGroup{title, f}
}

// addGroups gives the command its flags, and its help their groups.
func addGroups(cmd *cobra.Command, groups ...flagGroup) {
	for _, g := range groups {
		cmd.Flags().AddFlagSet(g.flags)
	}
	cmd.SetUsageFunc(func(c *cobra.Command) error {
		var b strings.Builder
		fmt.Fprintf(&b, "Usage:\n  %s\n", c.UseLine())
		for _, g := range groups {
			fmt.Fprintf(&b, "\n%s:\n%s", g.title, g.flags.FlagUsages())
		}
		_, err := fmt.Fprint(c.OutOrStderr(), b.String())
		return err
	})
}
