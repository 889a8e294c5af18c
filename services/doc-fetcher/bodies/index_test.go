package bodies_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	millracev1 "millrace/proto/millrace/v1"
	"millrace/services/doc-fetcher/bodies"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func index(o bodies.Options) *bodies.Index {
	if o.Age == 0 {
		o.Age = time.Hour
	}
	return bodies.New(o)
}

func revision(id string) bodies.Revision { return bodies.Revision{ID: id, Rev: "1-a"} }

func ask(ids ...string) []bodies.Question {
	out := make([]bodies.Question, len(ids))
	for i, id := range ids {
		out[i].Revision = revision(id)
	}
	return out
}

// leaf is a document in a message of BODIES.
func leaf(id string, sequence uint64) *bodies.Leaf {
	return &bodies.Leaf{Doc: &millracev1.DocRef{Id: id, Rev: "1-a"}, Message: &bodies.Message{Sequence: sequence, Prefix: "p"}}
}

// fetch answers a question with the revision itself.
func fetch(c *bodies.Claim, id string, sequence uint64) {
	c.Answered(revision(id), []bodies.Revision{revision(id)})
	c.Placed(leaf(id, sequence))
}

// split says who fetches what, as "known mine others".
func split(s bodies.Split) string {
	return fmt.Sprintf("%d %d %d", len(s.Known), len(s.Mine), len(s.Others))
}

func expect(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

func TestRevisionIsFetchedByOneAndKnownToAll(t *testing.T) {
	x := index(bodies.Options{})
	first, s := x.Claim("f", ask("a", "b"), 0)
	expect(t, "the first", split(s), "0 2 0")
	second, s := x.Claim("f", ask("b", "c"), 0)
	expect(t, "the second", split(s), "0 1 1")
	fetch(first, "b", 7)
	leaves, ok, err := s.Others[0].Flight.Wait(t.Context(), ask("b")[0])
	if err != nil || !ok || len(leaves) != 1 || leaves[0].Message.Sequence != 7 {
		t.Errorf("waited for %v, %t, %v", leaves, ok, err)
	}
	first.Close()
	second.Close()
	third, s := x.Claim("f", ask("a", "b", "c"), 0)
	expect(t, "the third", split(s), "1 2 0")
	third.Close()
	other, s := x.Claim("another feed", ask("b"), 0)
	expect(t, "another feed", split(s), "0 1 0")
	other.Close()
}

func TestWhatIsGivenUpIsFetchedByTheNextWhoWantsIt(t *testing.T) {
	for name, giveUp := range map[string]func(*bodies.Claim){
		"given up":                          func(c *bodies.Claim) { c.GiveUp(revision("a")) },
		"closed":                            func(c *bodies.Claim) { c.Close() },
		"answered and not placed":           func(c *bodies.Claim) { c.Answered(revision("a"), []bodies.Revision{revision("b")}); c.Close() },
		"placed and not known to be answer": func(c *bodies.Claim) { c.Placed(leaf("a", 1)); c.Close() },
	} {
		x := index(bodies.Options{})
		first, _ := x.Claim("f", ask("a"), 0)
		_, s := x.Claim("f", ask("a"), 0)
		waited := make(chan bool)
		go func() {
			_, ok, _ := s.Others[0].Flight.Wait(t.Context(), ask("a")[0])
			waited <- ok
		}()
		<-first.Awaited()
		giveUp(first)
		if <-waited {
			t.Errorf("%s: it came", name)
		}
		next, s := x.Claim("f", ask("a"), 0)
		expect(t, name, split(s), "0 1 0")
		next.Close()
	}
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	x := index(bodies.Options{})
	_, _ = x.Claim("f", ask("a"), 0)
	_, s := x.Claim("f", ask("a"), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Others[0].Flight.Wait(ctx, ask("a")[0]); err == nil {
		t.Error("no error")
	}
}

// A newer leaf, or several, in the place of what was asked for.
func TestAnswerIsAllLeavesThatCame(t *testing.T) {
	x := index(bodies.Options{})
	c, _ := x.Claim("f", ask("old"), 0)
	c.Placed(leaf("left", 1))
	c.Answered(revision("old"), []bodies.Revision{revision("left"), revision("right")})
	_, s := x.Claim("f", ask("old"), 0)
	expect(t, "before all of them are there", split(s), "0 0 1")
	c.Placed(leaf("right", 2))
	_, s = x.Claim("f", ask("old"), 0)
	expect(t, "then", split(s), "1 0 0")
	if l := s.Known[0].Leaves; len(l) != 2 || l[0].Doc.Id != "left" || l[1].Doc.Id != "right" {
		t.Errorf("leaves %v", l)
	}
}

// What comes of attachments depends on what the target has of the document.
func TestAttachmentsAreSharedByTargetsThatHaveTheSame(t *testing.T) {
	for _, attached := range []bool{false, true} {
		x := index(bodies.Options{})
		question := func(has string) []bodies.Question { return []bodies.Question{{Revision: revision("a"), Has: has}} }
		place := func(c *bodies.Claim, sequence uint64) {
			l := leaf("a", sequence)
			l.Attached = attached
			c.Answered(revision("a"), []bodies.Revision{revision("a")})
			c.Placed(l)
			c.Close()
		}
		c, _ := x.Claim("f", question("1-x"), 0)
		_, s := x.Claim("f", question(""), 0)
		place(c, 1)
		if _, ok, err := s.Others[0].Flight.Wait(t.Context(), question("")[0]); ok == attached || err != nil {
			t.Errorf("with attachments %t, another one's is taken: %t, %v", attached, ok, err)
		}
		if !attached {
			continue
		}
		c, s = x.Claim("f", question(""), 0)
		expect(t, "who has nothing", split(s), "0 1 0")
		place(c, 2)
		for has, sequence := range map[string]uint64{"1-x": 1, "": 2} {
			_, s = x.Claim("f", question(has), 0)
			if len(s.Known) != 1 || s.Known[0].Leaves[0].Message.Sequence != sequence {
				t.Errorf("who has %q: %v", has, s)
			}
		}
	}
}

func TestWhatMayBeGoneFromTheStreamIsNotReferredTo(t *testing.T) {
	now := time.Unix(0, 0)
	x := index(bodies.Options{Age: time.Minute, Now: func() time.Time { return now }})
	c, _ := x.Claim("f", ask("a", "b"), 0)
	fetch(c, "a", 5)
	fetch(c, "b", 6)
	c.Close()
	x.Gone(6)
	_, s := x.Claim("f", ask("a", "b"), 0)
	expect(t, "after the stream dropped one", split(s), "1 1 0")
	now = now.Add(time.Minute)
	_, s = x.Claim("f", ask("b"), 0)
	expect(t, "after its age", split(s), "0 1 0")
	x.Expire()
	if n := x.Memory(); n != 0 {
		t.Errorf("%d bytes are kept", n)
	}
}

// The broker's disk was lost: sequences begin anew.
func TestStreamThatBeginsAnewIsReferredTo(t *testing.T) {
	x := index(bodies.Options{})
	x.Gone(1000)
	x.Gone(1)
	c, _ := x.Claim("f", ask("a"), 0)
	fetch(c, "a", 2)
	_, s := x.Claim("f", ask("a"), 0)
	expect(t, "known", split(s), "1 0 0")
}

func TestWhatIsFetchedAnewTakesThePlaceOfWhatIsGone(t *testing.T) {
	x := index(bodies.Options{})
	c, _ := x.Claim("f", ask("a"), 0)
	fetch(c, "a", 1)
	c = x.Renew("f", ask("a"), 0)
	_, s := x.Claim("f", ask("a"), 0)
	expect(t, "meanwhile", split(s), "0 1 0")
	fetch(c, "a", 9)
	c.Close()
	_, s = x.Claim("f", ask("a"), 0)
	if len(s.Known) != 1 || s.Known[0].Leaves[0].Message.Sequence != 9 {
		t.Errorf("known %v", s)
	}
}

func TestFeedThatIsNoMoreTakesNothing(t *testing.T) {
	x := index(bodies.Options{})
	c, _ := x.Claim("f", ask("a", "b"), 0)
	fetch(c, "a", 1)
	x.Drop("f")
	fetch(c, "b", 2)
	c.Close()
	if n := x.Memory(); n != 0 {
		t.Errorf("%d bytes are kept", n)
	}
}

func TestOldestMakeRoom(t *testing.T) {
	x := index(bodies.Options{Memory: 20_000})
	var ids []string
	for i := range 1000 {
		ids = append(ids, fmt.Sprint(i))
	}
	c, _ := x.Claim("f", ask(ids...), 0)
	for i, id := range ids {
		fetch(c, id, uint64(i+1))
		if n := x.Memory(); n > 20_000 {
			t.Fatalf("%d bytes", n)
		}
	}
	c.Close()
	_, s := x.Claim("f", ask(ids...), 0)
	if n := len(s.Known); n < 10 || s.Known[0].Question != len(ids)-n {
		t.Errorf("%d are known, from %d on", n, s.Known[0].Question)
	}
	// A feed that has one job only.
	c, _ = x.Claim("alone", ask(ids...), 2_000)
	for i, id := range ids {
		fetch(c, id, uint64(i+1))
	}
	c.Close()
	_, s = x.Claim("alone", ask(ids...), 0)
	if n := len(s.Known); n == 0 || n > 4 {
		t.Errorf("%d are known of a feed with a limit", n)
	}
}

// Whatever batches do: nobody fetches what another one fetches, who waits is told, what is known is what was placed,
// and memory is bounded.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const memory = 8_000
		now := time.Unix(0, 0)
		x := index(bodies.Options{Memory: memory, Age: time.Minute, Now: func() time.Time { return now }})
		type batch struct {
			claim  *bodies.Claim
			mine   map[string]bool
			others []*bodies.Flight
		}
		var batches []*batch
		owner := map[string]*batch{} // of what is being fetched
		placed := map[string]uint64{}
		next := uint64(0)
		id := func() string { return fmt.Sprint(rapid.IntRange(0, 30).Draw(t, "id")) }
		pick := func() *batch {
			if len(batches) == 0 {
				return nil
			}
			return batches[rapid.IntRange(0, len(batches)-1).Draw(t, "batch")]
		}
		forget := func(b *batch, id string) {
			delete(b.mine, id)
			if owner[id] == b {
				delete(owner, id)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"claim": func(t *rapid.T) {
				ids := map[string]bool{}
				for range rapid.IntRange(1, 8).Draw(t, "n") {
					ids[id()] = true
				}
				var list []string
				for id := range ids {
					list = append(list, id)
				}
				c, s := x.Claim("f", ask(list...), 0)
				b := &batch{claim: c, mine: map[string]bool{}}
				for _, k := range s.Known {
					if got := k.Leaves[0].Message.Sequence; got != placed[list[k.Question]] {
						t.Fatalf("%s is known at %d and was placed at %d", list[k.Question], got, placed[list[k.Question]])
					}
				}
				for _, n := range s.Mine {
					if owner[list[n]] != nil {
						t.Fatalf("%s is fetched twice at once", list[n])
					}
					owner[list[n]], b.mine[list[n]] = b, true
				}
				for _, o := range s.Others {
					if owner[list[o.Question]] == nil {
						t.Fatalf("nobody fetches %s", list[o.Question])
					}
					b.others = append(b.others, o.Flight)
				}
				if len(s.Known)+len(s.Mine)+len(s.Others) != len(list) {
					t.Fatalf("%v of %d questions", s, len(list))
				}
				batches = append(batches, b)
			},
			"place": func(t *rapid.T) {
				b := pick()
				if b == nil {
					return
				}
				for id := range b.mine {
					next++
					fetch(b.claim, id, next)
					placed[id] = next
					forget(b, id)
					return
				}
			},
			"give up": func(t *rapid.T) {
				if b := pick(); b != nil {
					for id := range b.mine {
						b.claim.GiveUp(revision(id))
						forget(b, id)
						return
					}
				}
			},
			"close": func(t *rapid.T) {
				if b := pick(); b != nil {
					b.claim.Close()
					for id := range b.mine {
						forget(b, id)
					}
				}
			},
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second)
				x.Expire()
			},
			"trim": func(t *rapid.T) { x.Gone(next / 2) },
			"": func(t *rapid.T) {
				if n := x.Memory(); n < 0 || n > memory {
					t.Fatalf("%d bytes", n)
				}
			},
		})
		for _, b := range batches {
			b.claim.Close()
		}
		for _, b := range batches {
			for _, f := range b.others {
				if _, _, err := f.Wait(context.Background(), ask("0")[0]); err != nil {
					t.Fatal(err)
				}
			}
		}
		now = now.Add(time.Hour)
		x.Expire()
		if n := x.Memory(); n != 0 {
			t.Fatalf("%d bytes are left of nothing", n)
		}
	})
}
