package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// A tracker sends a check at this interval and ends when this many checks have
	// no answer.
	checkInterval = 250 * time.Millisecond
	checksMissed  = 3
	// connectTimeout is the timeout of one attempt to connect.
	connectTimeout = time.Second
	// locateInterval is the time between two checks of where the address leads.
	locateInterval = 600 * time.Millisecond
	// trackerBuffer is how many bytes of reports are read at once.
	trackerBuffer = 32 << 10
)

// session is one connection of a tracker.
type session struct {
	*tracker
	conn    *conn
	awaited chan awaited // answers to come, in their order
	missing atomic.Int32 // checks without an answer
	swapped chan struct{}
	swaps   string // see swapsOf; of locate

	mu       sync.Mutex
	live     bool      // writes are reported
	reported bool      // the watcher was notified of that
	checked  time.Time // when the last answered check was sent
	located  time.Time // when the address was last asked for and led to the server
}

// awaited is an answer that is still to come.
type awaited struct {
	canary bool   // the value of the canary; otherwise the number of a check
	number string // that is echoed
	sent   time.Time
}

// errElsewhere ends a tracker whose address leads to another server.
var errElsewhere = errors.New("the address leads to another server")

// session connects, and returns when it is no longer certain that writes are
// reported.
func (t *tracker) session(ctx context.Context) error {
	located := time.Now()
	attempt, cancel := context.WithTimeout(ctx, connectTimeout)
	cn, answers, err := t.connector.connect(attempt, t.addr, true, append([][]string{trackingCommand(t.prefixes)}, t.swapsQuestion()...)...)
	cancel()
	if err != nil {
		return err
	}
	defer cn.Close()
	if err, ok := answers[0].(replyError); ok {
		return asUnsupported(err)
	}
	if cn.runID == "" {
		return fmt.Errorf("%w: INFO server has no run_id", errUnsupported)
	}
	select {
	case <-t.restart: // this connection is the new one
	default:
	}
	t.canary.setValid(false)
	s := &session{
		tracker: t, conn: cn, located: located, swaps: swapsOf(answers[1:]),
		awaited: make(chan awaited, 4*checksMissed), swapped: make(chan struct{}, 1),
	}
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { _ = cn.Conn.Close() }) // makes read return
	defer stop()
	group.Go(s.read)
	group.Go(func() error { return s.check(ctx) })
	group.Go(func() error { return s.locate(ctx) })
	group.Go(func() error { return s.maintainCanary(ctx) })
	return group.Wait()
}

// read handles reports and answers in the order in which they arrive.
func (s *session) read() error {
	reader := bufio.NewReaderSize(s.conn.reader, trackerBuffer)
	pushes := pushReader{reader: reader, written: s.report}
	var pace pace
	for {
		if reader.Buffered() == 0 {
			time.Sleep(pace.rest(time.Now(), pushes.count))
		}
		first, err := reader.Peek(1)
		if err != nil {
			return err
		}
		if first[0] == '>' {
			if err := pushes.read(); err != nil {
				return err
			}
			continue
		}
		reply, err := readReply(reader)
		if err != nil {
			return err
		}
		select {
		case want := <-s.awaited:
			if err := s.answer(want, reply); err != nil {
				return err
			}
		default:
			return errMalformed
		}
	}
}

// answer handles the answer to a check. A refusal is also an answer: it follows all
// reports of earlier writes.
func (s *session) answer(want awaited, reply any) error {
	refusal, refused := reply.(replyError)
	if refused && !hasCode(refusal, "BUSY", "MISCONF") {
		return asUnsupported(refusal)
	}
	if want.canary {
		if !refused && reply != s.canary.token && s.canary.isValid() {
			s.canary.setValid(false)
			s.written(nil)
			select {
			case s.swapped <- struct{}{}:
			default:
			}
		}
		return nil
	}
	if !refused && reply != want.number {
		return errMalformed
	}
	s.missing.Add(-1)
	s.tracker.answered()
	s.update(func() { s.checked = want.sent })
	return nil
}

// check sends checks: the value of the canary, and a number to be echoed.
func (s *session) check(ctx context.Context) error {
	tick := time.NewTicker(checkInterval)
	defer tick.Stop()
	for number := 1; ; number++ {
		if s.missing.Add(1) > checksMissed+1 {
			return fmt.Errorf("%d checks have no answer", checksMissed)
		}
		var text []byte
		if s.canary.isValid() && s.canary.readBack {
			text = appendCommand(text, "GET", s.canary.key)
			s.awaited <- awaited{canary: true}
		}
		want := awaited{number: strconv.Itoa(number), sent: time.Now()}
		s.awaited <- want
		if _, err := s.conn.Write(appendCommand(text, "PING", want.number)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.restart:
			return errElsewhere
		case <-tick.C:
		}
	}
}

// locate dials the address at intervals, to check that it still leads to this server:
// an open connection does not notice when a name, a virtual address or a service
// moves. It also asks how often databases were swapped.
func (s *session) locate(ctx context.Context) error {
	for {
		s.mu.Lock()
		next := s.located.Add(locateInterval)
		s.mu.Unlock()
		wait := time.Until(next)
		if until := time.Until(s.connector.nextTry(s.addr)); until > wait {
			wait = until
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(max(wait, locateInterval/6)):
		}
		if !s.tracker.read.Load() {
			continue
		}
		begun := time.Now()
		attempt, cancel := context.WithTimeout(ctx, connectTimeout)
		cn, answers, err := s.connector.connect(attempt, s.addr, false, s.swapsQuestion()...)
		cancel()
		switch {
		case hasCode(err, "BUSY"):
			// The server cannot identify itself, but nothing can be read or written there
			// either.
			s.update(func() { s.located = begun })
			continue
		case err != nil:
			s.doubted(err)
			continue // trust ends by itself
		}
		runID := cn.runID
		_ = cn.Close()
		if runID != s.conn.runID {
			return errElsewhere
		}
		if swaps := swapsOf(answers); swaps != s.swaps {
			s.swaps = swaps
			s.written(nil)
		}
		s.update(func() { s.located = begun })
	}
}

// swapsQuestion asks how often SWAPDB was called, where it can be. The canary
// reveals one swap sooner, but not a second one that restores the canary.
func (t *tracker) swapsQuestion() [][]string {
	if !t.canary.readBack {
		return nil
	}
	return [][]string{{"INFO", "commandstats"}}
}

// swapsOf is the number of calls of SWAPDB in the answer, or "" if there were none
// or the server does not report it.
func swapsOf(answers []any) string {
	if len(answers) == 0 {
		return ""
	}
	text, _ := answers[0].(string)
	calls, _, _ := strings.Cut(parseInfo(text)["cmdstat_swapdb"], ",")
	return calls
}

// maintainCanary checks that writes are reported, and keeps the canary alive.
func (s *session) maintainCanary(ctx context.Context) error {
	for pause := canaryRetryMin; ; {
		master := s.canary.master()
		result, written, err := s.canary.try(ctx)
		switch result {
		case canaryReported:
			s.unreported = 0
			s.update(func() { s.live = true })
			if err := s.awaitSwap(ctx); err != nil {
				return err
			}
			pause = canaryRetryMin
			continue
		case canaryNever:
			return fmt.Errorf("writing a canary: %w", asUnsupported(err))
		case canaryRefused:
			// The server has accepted the tracking command but writes nothing for now. It
			// is trusted until it can show that it reports writes.
			s.update(func() { s.live = true })
		case canaryUnreported:
			return s.afterUnreported(master, written)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(canaryRetryMax, 2*pause)
	}
}

// awaitSwap extends the canary until the database is exchanged.
func (s *session) awaitSwap(ctx context.Context) error {
	extend := time.NewTicker(canaryExtend)
	defer extend.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.swapped:
			return nil
		case <-extend.C:
			s.canary.extend(ctx)
		}
	}
}

// afterUnreported returns the error for a canary that was written but not reported. It
// concludes that the server reports nothing only after several times in a row,
// in which the server answered later checks and kept its role: the canary may
// have gone to the old master of a failover, and a replica may be behind.
func (s *session) afterUnreported(master bool, written time.Time) error {
	s.mu.Lock()
	answered := s.checked.After(written)
	s.mu.Unlock()
	if !answered {
		return errors.New("no answer to a check in time")
	}
	now := s.canary.master()
	if now != master || s.unreported > 0 && now != s.wasMaster {
		s.unreported = 0
		return errors.New("the role of the server has changed while a canary was awaited")
	}
	const enough = 3
	s.wasMaster = now
	if s.unreported++; s.unreported >= enough {
		return fmt.Errorf("%w: %d canaries were not reported within %s", errUnreported, s.unreported, canaryWait)
	}
	return errors.New("a canary was not reported yet")
}

// update changes the state of the session and passes on until when all writes are
// known to be reported.
func (s *session) update(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	if !s.live || s.checked.IsZero() {
		return
	}
	since := s.checked
	if s.located.Before(since) {
		since = s.located
	}
	s.trusted(since.Add(leaseTime))
	if !s.reported { // once per connection: any doubt ends it
		s.reported = true
		s.changed(trackerLive, nil)
	}
}
