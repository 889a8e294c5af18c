package main

import (
	"fmt"

	"millrace/pkg/replication"
	millracev1 "millrace/proto/millrace/v1"
)

// course is how one of the jobs goes that the command follows to its end.
type course struct {
	// submitted is the job as it was then.
	submitted *millracev1.Job
	out       *display
	// crashes is how many in a row there were before this command.
	crashes uint32
	// over: nothing more is expected of it. err is why, where that is not that it is completed.
	over bool
	err  error
}

func newCourse(out *display, submitted *millracev1.Job) *course {
	return &course{submitted: submitted, out: out, crashes: submitted.ErrorCount}
}

// job takes in the job's state. A job that has crashed too often goes on crashing while others
// are followed, and may recover.
func (c *course) job(job *millracev1.Job, retries int) {
	c.out.job(job)
	c.crashes = min(c.crashes, job.ErrorCount)
	switch replication.State(job.State) {
	case replication.Completed:
		c.end(c.out.completed(job))
	case replication.Failed:
		c.end(failedError(fmt.Errorf("replication failed: %s", job.Reason)))
	case replication.Crashing:
		if n := int(job.ErrorCount - c.crashes); retries > 0 && n >= retries {
			c.end(failedError(fmt.Errorf("replication crashed %d times in a row, the last time: %s", n, job.Reason)))
		}
	case replication.Running:
		if job.ErrorCount == 0 {
			c.over, c.err = false, nil
		}
	}
}

func (c *course) end(err error) {
	if !c.over && err != nil {
		c.out.ended(err)
	}
	c.over, c.err = true, err
}

// outcome is how it stands, in a word.
func (c *course) outcome() string {
	if c.err != nil && !c.out.finished {
		return string(replication.Failed)
	}
	return c.out.outcome()
}
