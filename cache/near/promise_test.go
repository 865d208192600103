package near

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A read that began while copies were trusted may end after the trust is lost and
// its key was written.
func TestReadThatAWriteOvertookIsNotKeptForStaleUse(t *testing.T) {
	t.Parallel()
	n := trusted(t, Options{}, Coherent)
	ticket, version := n.Begin("k", true), n.BeginVersion("tag")
	n.SetTrust(None)
	n.Invalidate("k", "tag")
	ticket.Keep(Copy[record]{Record: rec("old")}, start)
	_, ok := n.Stale("k", time.Hour, start)
	require.False(t, ok)
	require.True(t, version.Keep("v1").Ended())
}

func TestCorrectionThatAWriteOvertakesIsNotKept(t *testing.T) {
	t.Parallel()
	n := trusted(t, Options{}, Coherent)
	for _, key := range []string{"a", "b"} {
		n.keep(key, rec("v"), start.Add(time.Hour), start)
	}
	n.SetTrust(None)
	const rounds = 30_000
	var turn, done atomic.Int64
	var group sync.WaitGroup
	group.Go(func() {
		for i := range int64(rounds) {
			for turn.Load() <= i {
				runtime.Gosched()
			}
			for range i % 64 {
				done.Load() // meets Correct at another point each time
			}
			n.Invalidate("k")
			done.Store(i + 1)
		}
	})
	left := 0
	for i := range int64(rounds) {
		ticket := n.Begin("k", true)
		turn.Store(i + 1)
		ticket.Correct(rec("old"), start)
		for done.Load() <= i {
			runtime.Gosched()
		}
		if _, ok := n.Stale("k", time.Hour, start); ok {
			left++
		}
	}
	group.Wait()
	require.Zero(t, left)
}

// An invalidation counts before it waits for a reader that keeps a copy. So the next
// reader keeps nothing that was read before it.
func TestAnInvalidationIsCountedBeforeItWaitsForAReader(t *testing.T) {
	t.Parallel()
	n := trusted(t, Options{}, Coherent)
	written := &n.generation.Load().stripe(n.hash("k")).written
	var group sync.WaitGroup
	r := rec("old")
	r.copied = func() {
		group.Go(func() { n.Invalidate("k") })
		for end := time.Now().Add(10 * time.Second); written.Load() == 0 && time.Now().Before(end); {
			runtime.Gosched()
		}
	}
	n.keep("k", r, start.Add(time.Hour), start)
	require.Positive(t, written.Load())
	group.Wait()
	_, ok := n.Peek("k", true, start)
	require.False(t, ok)
}

// Every key has a number that goes up. Writers store a number and report it; after
// that, no reader that begins gets a lower one, whatever else happens.
func TestNoReaderGetsWhatWasReportedAsWrittenOver(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		size   int64
		keys   int
		trusts bool // whether trust is lost at times
	}{
		"one key":            {1 << 20, 1, false},
		"nothing evicted":    {4 << 20, 2000, false},
		"always evicting":    {8 << 10, 300, false},
		"hardly any room":    {1 << 10, 50, false},
		"with losses":        {64 << 10, 500, true},
		"with losses, small": {4 << 10, 100, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &model{near: trusted(t, Options{MaxSize: c.size}, Coherent), keys: make([]modelKey, c.keys)}
			for i := range m.keys {
				m.keys[i].name, m.keys[i].tag = fmt.Sprint("key", i), fmt.Sprint("tag", i%7)
			}
			var writers, readers sync.WaitGroup
			var ended atomic.Bool
			for i := range 2 {
				writers.Go(func() { m.write(uint64(i), modelRounds, c.trusts && i == 0) })
			}
			for i := range 4 {
				readers.Go(func() { m.read(t, uint64(i), &ended) })
			}
			writers.Wait()
			ended.Store(true)
			readers.Wait()

			g := m.near.generation.Load()
			for i := range m.keys {
				m.near.Invalidate(m.keys[i].name, m.keys[i].tag)
			}
			for name, left := range map[string]int64{
				"copies": g.copies.count.Load(), "their weight": g.copies.weight.Load(),
				"versions": g.versions.count.Load(), "the weight of versions": g.versions.weight.Load(),
			} {
				require.Zero(t, left, name)
			}
		})
	}
}

const modelRounds = 3000

type model struct {
	near *recordCache
	keys []modelKey
	tags [7]modelKey
}

type modelKey struct {
	mu        sync.Mutex // of its writers
	name, tag string
	stored    atomic.Int64
	reported  atomic.Int64
}

// next stores the next number of a key and reports it.
func (k *modelKey) next(report func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	number := k.stored.Add(1)
	report()
	k.reported.Store(number)
}

func (m *model) write(seed uint64, rounds int, trusts bool) {
	random := rand.New(rand.NewPCG(seed, 2))
	for range rounds {
		pause(random)
		k := &m.keys[random.IntN(len(m.keys))]
		switch action := random.IntN(400); {
		case action == 0:
			k.next(m.near.Flush)
		case action < 5 && trusts:
			k.next(func() {
				m.near.SetTrust(None)
				m.near.Invalidate(k.name)
				m.near.TrustUntil(time.Now().Add(time.Hour))
			})
		case action < 40:
			i := random.IntN(len(m.tags))
			m.tags[i].next(func() { m.near.Invalidate("tag" + strconv.Itoa(i)) })
		default:
			k.next(func() { m.near.Invalidate("another", k.name) })
		}
	}
}

func (m *model) read(t *testing.T, seed uint64, ended *atomic.Bool) {
	random := rand.New(rand.NewPCG(seed, 3))
	for !ended.Load() {
		i := random.IntN(len(m.keys))
		if random.IntN(2) == 0 {
			i = i * i / len(m.keys) // some keys are read more often
		}
		k := &m.keys[i]
		tag := &m.tags[i%7]
		least, leastOfTag := k.reported.Load(), tag.reported.Load()
		now := time.Now()
		if random.IntN(10) == 0 {
			if e, ok := m.near.Stale(k.name, time.Hour, now); ok {
				m.check(t, e.Record, k, least, leastOfTag)
			}
			continue
		}
		if e, ok := m.near.Peek(k.name, true, now); ok {
			m.check(t, e.Record, k, least, leastOfTag)
			e.Record.grow(random.IntN(3) * 20)
			continue
		}
		ticket := m.near.Begin(k.name, true)
		number := k.stored.Load()
		pause(random)
		var versions []*Version
		tagNumber := int64(-1)
		if i%3 != 0 { // the others have no tag
			v, ok := m.near.Version(k.tag, now)
			if !ok {
				drawn := m.near.BeginVersion(k.tag)
				text := strconv.FormatInt(tag.stored.Load(), 10)
				pause(random)
				v = drawn.Keep(text)
			}
			tagNumber, _ = strconv.ParseInt(v.Text(), 10, 64)
			versions = append(versions, v)
			if i%3 == 2 {
				versions = append(versions, NewVersion("other"))
			}
		}
		r := rec(fmt.Sprintf("%s %d %d", k.name, number, tagNumber))
		if versions == nil && random.IntN(20) == 0 { // tagged records are not kept for stale use so
			ticket.Correct(r, now)
			continue
		}
		ticket.Keep(Copy[record]{Record: r, Expires: now.Add(time.Hour).UnixNano(), Versions: versions}, now)
	}
}

// pause lets others run, so that they overtake.
func pause(random *rand.Rand) {
	for range random.IntN(4) {
		runtime.Gosched()
	}
}

func (m *model) check(t *testing.T, r *record, k *modelKey, least, leastOfTag int64) {
	var name string
	var number, tagNumber int64
	if _, err := fmt.Sscanf(r.text, "%s %d %d", &name, &number, &tagNumber); err != nil || name != k.name {
		t.Errorf("%s has %q", k.name, r.text)
	}
	if number < least {
		t.Errorf("%s has %d after %d was reported", k.name, number, least)
	}
	if tagNumber >= 0 && tagNumber < leastOfTag {
		t.Errorf("%s has version %d of its tag after %d was reported", k.name, tagNumber, leastOfTag)
	}
}
