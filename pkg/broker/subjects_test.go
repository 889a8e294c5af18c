package broker

import "testing"

func TestSubjectsOfAJobsWorkNameTheJob(t *testing.T) {
	s, job := Subjects{"millrace"}, Token("a replication")
	for _, subject := range []string{
		s.Selected("here", job), s.Missing("here", job), s.Again("here", job), s.Write("far-away", job),
	} {
		if got := s.Job(subject); got != job {
			t.Errorf("%s is of job %s", subject, got)
		}
	}
	if s.Again("here", job) == s.Missing("here", job) {
		t.Error("what is fetched again has no room of its own")
	}
}
