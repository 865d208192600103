// The servers under test are processes of their own, so that each has its
// time on the CPU counted by the system.

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// process is a running server.
type process struct {
	name   string
	cmd    *exec.Cmd
	output *tail
	done   chan struct{}
}

// tail is the end of what a process says.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// tailSize is how many bytes of it are kept.
const tailSize = 4 << 10

// Write implements [io.Writer].
func (t *tail) Write(text []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, text...)
	t.text = t.text[max(0, len(t.text)-tailSize):]
	return len(text), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}

// nursery starts processes and ends them all.
type nursery struct {
	dir     string // where each process runs
	workers int    // the number of threads that run Go code, or of nginx's workers

	mu      sync.Mutex
	running []*process
}

// start starts a process and waits until it listens on addr.
func (n *nursery) start(ctx context.Context, name, addr, path string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(path, args...), output: new(tail), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = n.dir, p.output, p.output
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(n.workers), "XDG_DATA_HOME="+n.dir+"/data", "XDG_CONFIG_HOME="+n.dir+"/data")
	endWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	n.mu.Lock()
	n.running = append(n.running, p)
	n.mu.Unlock()
	if err := p.await(ctx, addr); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// await waits until the process listens.
func (p *process) await(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended at once:\n%s", p.output)
		case <-ctx.Done():
			return fmt.Errorf("it does not listen on %s: %w", addr, errors.Join(ctx.Err(), err))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// pid of the process.
func (p *process) pid() int { return p.cmd.Process.Pid }

// end ends the process in good order, or else by force.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// endAll ends all processes, the last one first.
func (n *nursery) endAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := len(n.running) - 1; i >= 0; i-- {
		n.running[i].end()
	}
	n.running = nil
}

// given are the addresses that freeAddr has found.
var given sync.Map

// freeAddr finds an address of this machine that is free now, each
// time another one: two listeners of one Caddy would share a port without a
// word.
func freeAddr() (string, error) {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", fmt.Errorf("looking for a free port: %w", err)
		}
		addr := l.Addr().String()
		if err := l.Close(); err != nil {
			return "", fmt.Errorf("looking for a free port: %w", err)
		}
		if _, known := given.LoadOrStore(addr, true); !known {
			return addr, nil
		}
	}
}
