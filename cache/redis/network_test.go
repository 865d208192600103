package redis

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxy stands between a store and its server, and can fail in a network's ways.
type proxy struct {
	net.Listener
	mu       sync.Mutex
	target   string
	links    []*link
	silent   atomic.Bool  // what is sent is lost, without a sign
	refuse   atomic.Bool  // connections are closed at once
	delay    atomic.Int64 // of each piece of data, in nanoseconds
	rate     atomic.Int64 // bytes a second towards the client; 0 is no limit
	accepted atomic.Int64
	group    sync.WaitGroup
}

// link is a connection with both its sides.
type link struct {
	client, server net.Conn
	frozen         atomic.Bool // what is sent is lost, without a sign
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{Listener: l, target: target}
	p.group.Go(p.serve)
	t.Cleanup(func() {
		_ = l.Close()
		p.cut()
		p.group.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.Addr().String() }

// leadTo lets connections from now on lead to another server.
func (p *proxy) leadTo(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

func (p *proxy) serve() {
	for {
		client, err := p.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		if p.refuse.Load() {
			_ = client.Close()
			continue
		}
		server, err := net.Dial("tcp", target)
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &link{client: client, server: server}
		p.mu.Lock()
		p.links = append(p.links, l)
		p.mu.Unlock()
		p.group.Go(func() { p.pipe(l, server, client, &atomic.Int64{}) })
		p.group.Go(func() { p.pipe(l, client, server, &p.rate) })
	}
}

func (p *proxy) pipe(l *link, to, from net.Conn, rate *atomic.Int64) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if p.silent.Load() || l.frozen.Load() {
			continue
		}
		if d := p.delay.Load(); d > 0 {
			time.Sleep(time.Duration(d))
		}
		if r := rate.Load(); r > 0 {
			time.Sleep(time.Duration(n) * time.Second / time.Duration(r))
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// cut ends all connections there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		_ = l.client.Close()
		_ = l.server.Close()
	}
	p.links = nil
}

// freeze lets nothing through the connections there are.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.links {
		l.frozen.Store(true)
	}
}
