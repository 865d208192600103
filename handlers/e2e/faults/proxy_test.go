// A network that can be broken: a TCP proxy between one node and Redis.
//
// Toxiproxy, the usual library for this, closes all connections when an address
// changes, treats new and old connections alike, and counts no attempts. These
// faults need all three.

package faults

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxy passes connections on to a target. Its faults apply at once, also to
// connections that are open.
type proxy struct {
	listener net.Listener
	attempts atomic.Int64 // connections that were asked for
	delay    atomic.Int64 // nanoseconds that each byte takes, each way
	rate     atomic.Int64 // bytes a second that a connection may receive; 0: any
	lag      atomic.Int64 // nanoseconds more that reports of writes take
	held     atomic.Bool  // nothing arrives for now, and nothing is lost
	ends     atomic.Int64 // of so many answers, the connection ends in the middle of one; 0: of none
	answers  atomic.Int64 // that have passed

	mu        sync.Mutex
	target    string
	refuses   bool
	blackhole bool // new connections are accepted, and nothing comes back
	closed    bool
	links     map[*link]struct{}
	wait      sync.WaitGroup
}

// link is a connection through a proxy.
type link struct {
	client, server net.Conn
	silent         atomic.Bool // half-open: what arrives is lost
	tracker        atomic.Bool // it asked Redis to report writes
}

func newProxy(t *testing.T, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: l, target: target, links: make(map[*link]struct{})}
	p.wait.Go(p.serve)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) serve() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.attempts.Add(1)
		p.wait.Go(func() { p.connect(client) })
	}
}

func (p *proxy) connect(client net.Conn) {
	p.mu.Lock()
	target, refuses, blackhole := p.target, p.refuses, p.blackhole
	p.mu.Unlock()
	if refuses {
		reset(client)
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		reset(client)
		return
	}
	l := &link{client: client, server: server}
	l.silent.Store(blackhole)
	p.mu.Lock()
	if p.closed || p.refuses {
		p.mu.Unlock()
		l.cut()
		return
	}
	p.links[l] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, server, client, true) })
	both.Go(func() { p.pump(l, client, server, false) })
	both.Wait()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// packet is data that was read at once, and the time at which it may arrive.
type packet struct {
	data []byte
	due  time.Time
}

// pump carries one direction of a link until either end is gone.
func (p *proxy) pump(l *link, to, from net.Conn, up bool) {
	packets := make(chan packet, 64)
	var writer sync.WaitGroup
	writer.Go(func() {
		for packet := range packets {
			time.Sleep(time.Until(packet.due))
			if rate := p.rate.Load(); rate > 0 && !up {
				time.Sleep(time.Duration(len(packet.data)) * time.Second / time.Duration(rate))
			}
			for p.held.Load() {
				time.Sleep(time.Millisecond)
			}
			if l.silent.Load() {
				continue
			}
			if n := p.ends.Load(); n > 0 && !up && p.answers.Add(1)%n == 0 {
				_, _ = to.Write(packet.data[:len(packet.data)/2])
				l.cut()
				continue
			}
			if _, err := to.Write(packet.data); err != nil {
				l.cut()
			}
		}
	})
	buffer := make([]byte, 4<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			data := bytes.Clone(buffer[:n])
			if up && bytes.Contains(bytes.ToLower(data), []byte("tracking")) {
				l.tracker.Store(true)
			}
			delay := p.delay.Load()
			if !up && l.tracker.Load() {
				delay += p.lag.Load()
			}
			packets <- packet{data, time.Now().Add(time.Duration(delay))}
		}
		if err != nil {
			break
		}
	}
	close(packets)
	writer.Wait()
	if !l.silent.Load() { // a half-open connection does not end
		l.cut()
	}
}

// cut ends a link as a crash of both ends does.
func (l *link) cut() {
	reset(l.client)
	reset(l.server)
}

func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// cut ends all links, or those of a kind.
func (p *proxy) cut(which func(*link) bool) {
	for _, l := range p.all() {
		if which == nil || which(l) {
			l.cut()
		}
	}
}

func (p *proxy) all() (links []*link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		links = append(links, l)
	}
	return links
}

// isData reports whether a link carries commands, and not reports of writes.
func isData(l *link) bool { return !isTracker(l) }

// isTracker reports whether a link carries reports of writes.
func isTracker(l *link) bool { return l.tracker.Load() }

// goAway makes the target unreachable: all links end, and new ones are refused.
func (p *proxy) goAway() {
	p.mu.Lock()
	p.refuses = true
	p.mu.Unlock()
	p.cut(nil)
}

// comeBack ends goAway and dropNew.
func (p *proxy) comeBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses, p.blackhole = false, false
}

// silence makes the open links half-open: no data passes in either direction, and
// neither end is notified.
func (p *proxy) silence() {
	for _, l := range p.all() {
		l.silent.Store(true)
	}
}

// dropNew also accepts new links and lets nothing through them.
func (p *proxy) dropNew() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.blackhole = true
}

// lead connects new links to another address; open ones stay.
func (p *proxy) lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

func (p *proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.rate.Store(0)
	p.delay.Store(0)
	p.lag.Store(0)
	p.ends.Store(0)
	p.held.Store(false)
	p.cut(nil)
	p.wait.Wait()
}

// echo is a server that sends back what it gets.
func echo(t *testing.T, prefix string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer c.Close()
				_, _ = io.WriteString(c, prefix)
				_, _ = io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wait.Wait()
	})
	return l.Addr().String()
}

func TestProxyBreaksConnectionsInEachWay(t *testing.T) {
	a, b := echo(t, "a"), echo(t, "b")
	p := newProxy(t, a) // which ends its connections before the servers do
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.addr())
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	hears := func(c net.Conn, say, want string, within time.Duration) error {
		if _, err := io.WriteString(c, say); err != nil {
			return err
		}
		require.NoError(t, c.SetReadDeadline(time.Now().Add(within)))
		got := make([]byte, len(want))
		_, err := io.ReadFull(c, got)
		if err == nil {
			require.Equal(t, want, string(got))
		}
		return err
	}
	first := dial()
	require.NoError(t, hears(first, "x", "ax", time.Minute))

	p.lead(b)
	second := dial()
	require.NoError(t, hears(second, "x", "bx", time.Minute))
	require.NoError(t, hears(first, "y", "y", time.Minute), "an open connection stays where it is")

	p.delay.Store(int64(50 * time.Millisecond))
	began := time.Now()
	require.NoError(t, hears(first, "x", "x", time.Minute))
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond)
	p.delay.Store(0)

	p.rate.Store(1000)
	began = time.Now()
	text := string(bytes.Repeat([]byte("x"), 100))
	require.NoError(t, hears(first, text, text, time.Minute))
	require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond)
	p.rate.Store(0)

	p.held.Store(true)
	var timeout net.Error
	require.ErrorAs(t, hears(first, "x", "x", 20*time.Millisecond), &timeout)
	p.held.Store(false)
	require.NoError(t, hears(first, "y", "xy", time.Minute))

	p.silence()
	third := dial()
	require.NoError(t, hears(third, "x", "bx", time.Minute))
	require.ErrorAs(t, hears(first, "x", "x", 20*time.Millisecond), &timeout)
	require.True(t, timeout.Timeout(), "half-open, not ended")

	p.dropNew()
	fourth := dial()
	require.ErrorAs(t, hears(fourth, "x", "b", 20*time.Millisecond), &timeout)
	require.True(t, timeout.Timeout())
	p.comeBack()

	fifth := dial()
	require.NoError(t, hears(fifth, "x", "bx", time.Minute))
	p.ends.Store(1)
	require.Error(t, hears(fifth, "xy", "xy", time.Minute))
	p.ends.Store(0)

	p.goAway()
	require.Error(t, hears(third, "x", "x", time.Minute))
	if c, err := net.Dial("tcp", p.addr()); err == nil { // it may be reset even earlier
		require.Error(t, hears(c, "x", "bx", time.Minute))
		require.NoError(t, c.Close())
	}
	p.comeBack()
	require.NoError(t, hears(dial(), "x", "bx", time.Minute))
	require.Equal(t, int64(7), p.attempts.Load())
}
