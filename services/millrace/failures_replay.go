package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"millrace/pkg/failures"
	millracev1 "millrace/proto/millrace/v1"
)

func (f *failuresFlags) replayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "replay JOB [ID...]",
		Short: "Try rejected documents again, after what was in the way is mended",
		Long: `Sends rejected documents through the pipeline once more and says of each what came of
it: written (its record is gone), refused (its record says why now), vanished (the source has it
no more, and no copy is kept), or failed (a database did not answer; nothing has changed). The
job may be completed, crashed or running.

` + failuresHelp + `

` + exitCodes,
		Args: atLeast(1, "JOB [ID...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.choice.ids = args[1:]
			if err := f.choice.check(); err != nil {
				return err
			}
			return f.withJob(cmd, args[0], f.replay)
		},
	}
	f.choice.flags(cmd.Flags())
	cmd.Flags().BoolVar(&f.choice.all, "all", false, "all rejected documents of the job")
	return cmd
}

// replayLine is what came of one document, in JSON.
type replayLine struct {
	Type     string   `json:"type"`
	ID       string   `json:"id"`
	Rev      string   `json:"rev"`
	Outcome  string   `json:"outcome"`
	Leaves   []string `json:"leaves,omitempty"`
	Status   int32    `json:"status,omitempty"`
	Error    string   `json:"error,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Attempts uint32   `json:"attempts,omitempty"`
}

func outcomeWord(o millracev1.ReplayedDoc_Outcome) string {
	return strings.ToLower(strings.TrimPrefix(o.String(), "OUTCOME_"))
}

func (f *failuresFlags) replay(cmd *cobra.Command, v *visited) error {
	if v.job == nil {
		return failedError(fmt.Errorf("the job %s is no more: nothing says where its databases are; replicate again, or discard the records", v.ID))
	}
	v.Replays(cmd.Context())
	out := cmd.OutOrStdout()
	outcomes, err := v.store.Replay(cmd.Context(), v.job, failures.ReplayOptions{
		Select: f.choice.has,
		Tell: func(d *millracev1.ReplayedDoc) {
			if f.json {
				printLines(out, []replayLine{{ //nolint:errcheck // the replay goes on without anybody to tell
					"document", d.Id, d.Rev, outcomeWord(d.Outcome), d.Leaves, d.Status, d.Error, d.Reason, d.Attempts,
				}})
				return
			}
			fmt.Fprintln(out, told(d))
		},
		Silent: func() {
			fmt.Fprintln(cmd.ErrOrStderr(), "nothing is heard of the replay: are the services of both sides there? Ctrl-C ends the waiting, not the replay.")
		},
	})
	if err != nil {
		return failedOrInterrupted(cmd.Context(), err)
	}
	return f.sumUp(cmd, outcomes)
}

// told is what came of one document, for people.
func told(d *millracev1.ReplayedDoc) string {
	line := fmt.Sprintf("%s %s %s", outcomeWord(d.Outcome), clean(d.Id), d.Rev)
	if d.Outcome == millracev1.ReplayedDoc_OUTCOME_WRITTEN {
		if len(d.Leaves) > 0 {
			line += " as " + strings.Join(d.Leaves, ", ")
		}
		return line
	}
	if d.Status != 0 {
		line += fmt.Sprintf(": %d", d.Status)
	}
	return line + " " + clean(d.Error+": "+d.Reason)
}

// sumUp says how many came to which end; the exit code says the worst.
func (f *failuresFlags) sumUp(cmd *cobra.Command, outcomes map[millracev1.ReplayedDoc_Outcome]int) error {
	count := func(o millracev1.ReplayedDoc_Outcome) int { return outcomes[o] }
	written, refused := count(millracev1.ReplayedDoc_OUTCOME_WRITTEN), count(millracev1.ReplayedDoc_OUTCOME_REFUSED)
	vanished, failed := count(millracev1.ReplayedDoc_OUTCOME_VANISHED), count(millracev1.ReplayedDoc_OUTCOME_FAILED)
	if f.json {
		line := map[string]any{"type": "summary", "written": written, "refused": refused, "vanished": vanished, "failed": failed}
		if err := printLines(cmd.OutOrStdout(), []map[string]any{line}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "written %d, refused %d, vanished %d, failed %d\n", written, refused, vanished, failed)
	}
	switch {
	case failed > 0:
		return failedError(errors.New("some documents could not be tried"))
	case refused+vanished > 0:
		return &exitError{code: exitRejected}
	case written == 0 && len(f.choice.ids) > 0:
		return failedError(errors.New("no such rejected document"))
	}
	return nil
}

func (f *failuresFlags) discardCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "discard JOB [ID...]",
		Short: "Forget rejected documents, without having written them",
		Long:  "Removes records of rejected documents. The target does not get these documents.\n\n" + failuresHelp,
		Args:  atLeast(1, "JOB [ID...]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.choice.ids = args[1:]
			if err := f.choice.check(); err != nil {
				return err
			}
			return f.withJob(cmd, args[0], f.discard)
		},
	}
	f.choice.flags(cmd.Flags())
	cmd.Flags().BoolVar(&f.choice.all, "all", false, "all rejected documents of the job")
	return cmd
}

func (f *failuresFlags) discard(cmd *cobra.Command, v *visited) error {
	n := v.Failures
	if f.choice.all {
		if err := v.store.RemoveAll(cmd.Context(), v.ID); err != nil {
			return failedOrInterrupted(cmd.Context(), err)
		}
	} else {
		n = 0
		err := f.each(cmd, v, func(r *failures.Record) error {
			n++
			return v.store.Remove(cmd.Context(), r)
		})
		if err != nil {
			return err
		}
	}
	if f.json {
		return printLines(cmd.OutOrStdout(), []map[string]any{{"type": "summary", "discarded": n}})
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "discarded %d\n", n)
	return err
}
