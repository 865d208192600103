// The servers run as processes of their own, so that the system counts the CPU time
// of each.

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

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
)

// process is a running server.
type process struct {
	name   string
	cmd    *exec.Cmd
	output *tail
	done   chan struct{}
}

// tail keeps the end of a process's output.
type tail struct {
	mu   sync.Mutex
	text []byte
}

// tailSize is the number of bytes that tail keeps.
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

// processes starts processes, and ends all of them.
type processes struct {
	dir     string // the working directory of each process
	workers int    // GOMAXPROCS of each process, and the number of nginx's workers

	mu      sync.Mutex
	running []*process
}

// start starts a process and waits until it listens on addr.
func (ps *processes) start(ctx context.Context, name, addr, path string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(path, args...), output: new(tail), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = ps.dir, p.output, p.output
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(ps.workers), "XDG_DATA_HOME="+ps.dir+"/data", "XDG_CONFIG_HOME="+ps.dir+"/data")
	endWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	ps.mu.Lock()
	ps.running = append(ps.running, p)
	ps.mu.Unlock()
	if err := p.await(ctx, addr); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	return p, nil
}

// await waits until the process listens on addr, up to 30 seconds.
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
			return fmt.Errorf("it ended before it listened on %s:\n%s", addr, p.output)
		case <-ctx.Done():
			return fmt.Errorf("it does not listen on %s: %w", addr, errors.Join(ctx.Err(), err))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// end sends SIGTERM to the process, and kills it if it is still there after five
// seconds.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// endAll ends all processes, the one started last first.
func (ps *processes) endAll() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for i := len(ps.running) - 1; i >= 0; i-- {
		ps.running[i].end()
	}
	ps.running = nil
}

// freeAddr reserves an address of this machine until the process ends.
func freeAddr() (string, error) {
	p, err := ports.Reserve()
	if err != nil {
		return "", err
	}
	return p.Addr(), nil
}
