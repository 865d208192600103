// Package redistest starts real Redis servers for tests: one, one with TLS or
// access control, a master with sentinels, a cluster. All listen on loopback
// only, keep nothing on disk, and are gone when the test ends.
package redistest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
)

// Options of a server. The zero value listens on TCP and has no access control.
type Options struct {
	// Password is that of the default user.
	Password string
	// Users are ACL rules such as "web on >secret ~* &* +@all".
	Users []string
	// Unix listens on a socket file instead of TCP.
	Unix bool
	// TLS takes encrypted connections only, and only with a certificate of
	// the server's own authority; see [Server.Files].
	TLS bool
	// Args are more arguments of redis-server.
	Args []string
	// Env is more of its environment.
	Env []string
}

// Server is a running redis-server.
type Server struct {
	t       testing.TB
	options Options
	dir     string
	port    int
	files   Files
	client  *redis.Client

	mu      sync.Mutex
	process *process // nil while it is stopped
}

// Start starts a server on a free port of 127.0.0.1, with more arguments of
// redis-server, and waits until it answers.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartWith(t, Options{Args: args})
}

// StartWith is [Start] with options.
func StartWith(t testing.TB, options Options) *Server {
	t.Helper()
	// not t.TempDir: the path of a socket has to be short
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		t.Fatalf("making a directory for redis-server: %v", err)
	}
	port, err := ports.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, options: options, dir: dir, port: port.Number}
	t.Cleanup(func() {
		s.Kill()
		if s.client != nil {
			_ = s.client.Close()
		}
		_ = os.RemoveAll(dir)
		port.Release()
	})
	if options.TLS {
		if s.files, err = writeCertificates(dir); err != nil {
			t.Fatalf("making certificates: %v", err)
		}
	}
	if err = s.run(); err != nil {
		t.Fatalf("starting redis-server: %v", err)
	}
	return s
}

// Addr is host:port, or the path of the socket.
func (s *Server) Addr() string {
	if s.options.Unix {
		return filepath.Join(s.dir, "redis.sock")
	}
	return "127.0.0.1:" + strconv.Itoa(s.port)
}

// Client is a client with all rights, to do to the server what others do. It
// is closed with the test.
func (s *Server) Client() *redis.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		s.client = s.newClient()
	}
	return s.client
}

func (s *Server) newClient() *redis.Client {
	o := &redis.Options{
		Addr: s.Addr(), Password: s.options.Password, DisableIdentity: true, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	if s.options.TLS {
		o.TLSConfig = s.files.clientConfig()
	}
	return redis.NewClient(o)
}

// Stop ends the server as an administrator does; its data are lost.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as a crash does.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

func (s *Server) end(signal syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	s.process.end(signal)
	s.process = nil
}

// Restart starts the server again, empty, at the address it had.
func (s *Server) Restart() {
	s.t.Helper()
	s.Kill()
	var err error
	// a child that the old process forked for a replica may still have the port
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if err = s.run(); err == nil {
			return
		}
	}
	s.t.Fatalf("starting redis-server again: %v", err)
}

// Pause stops the server in its tracks: connections stay open and nothing
// answers. It works on Unix only.
func (s *Server) Pause() { s.withProcess("pausing", suspend) }

// Continue lets a paused server go on.
func (s *Server) Continue() { s.withProcess("continuing", resume) }

func (s *Server) withProcess(doing string, do func(*os.Process) error) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		s.t.Fatalf("%s redis-server: the server at %s is not running", doing, s.Addr())
	}
	if err := do(s.process.cmd.Process); err != nil {
		s.t.Fatalf("%s redis-server: %v", doing, err)
	}
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	p, err := startProcess(s.dir, s.options.Env, s.args()...)
	if err != nil {
		return err
	}
	client := s.newClient()
	defer client.Close()
	if err := p.await(func(ctx context.Context) error { return answers(ctx, client, p) }); err != nil {
		p.end(syscall.SIGKILL)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.process = p
	return nil
}

// answers reports whether it is this process that answers, not another server
// that was quicker to take the port.
func answers(ctx context.Context, client *redis.Client, p *process) error {
	if err := client.Ping(ctx).Err(); err != nil {
		return err
	}
	info, err := client.Info(ctx, "server").Result()
	if err != nil {
		return err
	}
	if !strings.Contains(info, fmt.Sprintf("process_id:%d\r\n", p.cmd.Process.Pid)) {
		return fmt.Errorf("another server answers at %s", client.Options().Addr)
	}
	return nil
}

func (s *Server) args() []string {
	port := strconv.Itoa(s.port)
	args := []string{"--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.dir, "--daemonize", "no"}
	switch {
	case s.options.Unix:
		args = append(args, "--port", "0", "--unixsocket", s.Addr())
	case s.options.TLS:
		args = append(args, "--port", "0", "--tls-port", port, "--tls-cert-file", s.files.ServerCert,
			"--tls-key-file", s.files.ServerKey, "--tls-ca-cert-file", s.files.CA)
	default:
		args = append(args, "--port", port)
	}
	if s.options.Password != "" {
		args = append(args, "--requirepass", s.options.Password, "--masterauth", s.options.Password)
	}
	for _, user := range s.options.Users {
		args = append(append(args, "--user"), strings.Fields(user)...)
	}
	return slices.Concat(args, s.options.Args)
}

// process is a redis-server or a sentinel.
type process struct {
	cmd    *exec.Cmd
	output *bytes.Buffer // to be read once done is closed
	done   chan struct{}
}

func startProcess(dir string, env []string, args ...string) (*process, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("%w: install it with `apt-get install redis-server` or `brew install redis`", err)
	}
	p := &process{cmd: exec.Command(path, args...), output: new(bytes.Buffer), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = dir, p.output, p.output
	if len(env) > 0 {
		p.cmd.Env = append(os.Environ(), env...)
	}
	endWithParent(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// await repeats ready until it succeeds or the process has ended.
func (p *process) await(ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("it ended at once:\n%s", p.output)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (p *process) end(signal syscall.Signal) {
	_ = p.cmd.Process.Signal(signal)
	_ = resume(p.cmd.Process) // a paused process does not end
	<-p.done
}
