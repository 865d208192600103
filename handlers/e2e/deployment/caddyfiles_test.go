package deployment

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

const livePath = "/filewallball/health/live"

// process is the output of a process that runs until the test ends.
type process struct{ sitetest.Output }

func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := new(process)
	cmd.Stdout, cmd.Stderr = p, p
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return p
}

// caddy runs Caddy with a Caddyfile of deploy/ and only this environment.
func caddy(t *testing.T, caddyfile string, env ...string) *process {
	t.Helper()
	home := t.TempDir()
	cmd := sitetest.Caddy(t, "run", "--config", caddyfile, "--adapter", "caddyfile")
	cmd.Env = append(slices.DeleteFunc(cmd.Env, func(variable string) bool {
		return strings.HasPrefix(variable, "REDIS_") || strings.HasPrefix(variable, "ENVIRONMENT=")
	}), append([]string{"XDG_DATA_HOME=" + home, "XDG_CONFIG_HOME=" + home}, env...)...)
	return start(t, cmd)
}

// startRedis runs start.sh as compose and Kubernetes do, with the files that they mount
// beside it. Its port is free, and its data is in a folder of the test. The test has a
// user of its own, to see what Redis refused.
func startRedis(t *testing.T, env ...string) (port string) {
	t.Helper()
	_, err := exec.LookPath("redis-server")
	require.NoError(t, err, "redis-server is missing: .ci/install redis-server")
	_, port, err = net.SplitHostPort(ports.Addr(t))
	require.NoError(t, err)
	mounted := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(mounted, "start.sh"), []byte(read(t, "redis/start.sh")), 0o600))
	users := read(t, "redis/users.acl") + "user tester on >tester ~* +@all\n"
	require.NoError(t, os.WriteFile(filepath.Join(mounted, "users.acl"), []byte(users), 0o600))
	cmd := exec.CommandContext(t.Context(), "sh", filepath.Join(mounted, "start.sh"), "--appendonly", "yes", "--dir", t.TempDir(), "--bind", "127.0.0.1")
	cmd.Env = append(os.Environ(), append(env, "REDIS_PORT="+port, "REDIS_RUN="+t.TempDir())...)
	p := start(t, cmd)
	require.Eventually(t, func() bool { return strings.Contains(p.String(), "Ready to accept connections") }, 20*time.Second, 10*time.Millisecond, "%s", p)
	return port
}

// node is a running Caddy of deploy/Caddyfile.
type node struct {
	*process
	sitetest.Site
	status, port, statusPort string
}

func startNode(t *testing.T, caddyfile, root string, env ...string) node {
	t.Helper()
	n := node{Site: sitetest.Site{Page: ports.Addr(t), Admin: ports.Addr(t)}, status: ports.Addr(t)}
	_, n.port, _ = net.SplitHostPort(n.Page)
	_, n.statusPort, _ = net.SplitHostPort(n.status)
	n.process = caddy(t, caddyfile, append(env, "CADDY_ADMIN="+n.Admin, "PORT="+n.port, "STATUS_PORT="+n.statusPort, "ROOT="+root)...)
	n.answers(t, n.Admin+livePath, http.StatusOK)
	n.answers(t, n.Page+"/a.txt", http.StatusUnauthorized)
	return n
}

// answers waits until an address answers with this status.
func (p *process) answers(t *testing.T, url string, status int) {
	t.Helper()
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + url) //nolint:noctx // it is asked again
		if err == nil {
			resp.Body.Close()
		}
		return err == nil && resp.StatusCode == status
	}, 30*time.Second, 20*time.Millisecond, "%s\n%s", url, p)
}

// with returns the environment with a variable replaced or added.
func with(env []string, name, value string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(variable string) bool { return strings.HasPrefix(variable, name+"=") })
	return append(env, name+"="+value)
}

// client returns a client of Redis with the rights of a user.
func client(t *testing.T, port, user, password string) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + port, Username: user, Password: password, DisableIdentity: true, MaxRetries: -1})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// worksWithRedis tries a session of the application, a file and the admin API, and checks
// that Redis has refused no command.
func (n node) worksWithRedis(t *testing.T, id string) {
	t.Helper()
	require.Equal(t, http.StatusUnauthorized, n.Get(t, "/a.txt", "Cookie", "session=none"+id).Status)
	require.Equal(t, http.StatusNoContent, n.API(t, "PUT", "keys/session:user:"+id, `{"user_id": 1}`).Status)
	a := n.Get(t, "/a.txt", "Cookie", "session="+id)
	require.Equal(t, http.StatusOK, a.Status, n.String())
	require.Equal(t, "hello", a.Body)
	require.NotEmpty(t, a.Header.Get("ETag"))
	require.Eventually(t, func() bool {
		return strings.Contains(n.Get(t, "/a.txt", "Cookie", "session="+id).Header.Get("Cache-Status"), "detail=near")
	}, 10*time.Second, 20*time.Millisecond, "there are near copies")
	for _, request := range [][3]string{
		{"GET", "keys", ""}, {"GET", "info", ""}, {"GET", "backup", ""}, {"POST", "purge", `{"tag": "a"}`}, {"POST", "purge", `{"prefix": "file:meta:"}`},
		{"POST", "bench", `{"count": 10}`}, {"POST", "restore", `{"key": "file:meta:x", "ttl_ms": 60000, "value": {}}`}, {"DELETE", "keys/session:user:" + id, ""},
	} {
		require.Less(t, n.API(t, request[0], request[1], request[2]).Status, 300, request[1])
	}
	require.Equal(t, http.StatusUnauthorized, n.Get(t, "/a.txt", "Cookie", "session="+id).Status)
	health := n.API(t, "GET", "health", "")
	require.Equal(t, http.StatusOK, health.Status, health.Body)
	require.NotContains(t, health.Body, "NOPERM")
	require.NotContains(t, n.String(), "NOPERM")
	require.NotContains(t, n.String(), password)
}

func TestTwoNodesOfComposeWorkBehindTheFront(t *testing.T) {
	project := compose(t, "compose.yml")
	port := startRedis(t, environment(project.Services["redis"])...)
	root := sitetest.Files(t, map[string]string{"a.txt": "hello"})
	caddyfile := mustAbs(t, filepath.Join(dir, "Caddyfile"))
	var nodes []node
	for _, name := range []string{"node1", "node2"} {
		env := with(with(environment(project.Services[name]), "REDIS_HOST", "127.0.0.1"), "REDIS_PORT", port)
		nodes = append(nodes, startNode(t, caddyfile, root, env...))
	}
	nodes[0].worksWithRedis(t, "one")
	nodes[1].worksWithRedis(t, "two")

	refused, err := client(t, port, "tester", "tester").Do(t.Context(), "ACL", "LOG").Slice()
	require.NoError(t, err)
	require.Empty(t, refused, "the rights are enough for all that a node does")
	refusesStrangers(t, port)

	front := ports.Addr(t)
	_, frontPort, _ := net.SplitHostPort(front)
	caddy(t, mustAbs(t, filepath.Join(dir, "front.Caddyfile")), "FRONT_PORT="+frontPort, "STATUS_PORT="+nodes[0].statusPort,
		"NODES=127.0.0.1:"+nodes[0].port).answers(t, front+"/a.txt", http.StatusUnauthorized)
	require.NoError(t, client(t, port, "application", password).Set(t.Context(), "session:user:three", `{"user_id": 3}`, time.Hour).Err())
	a := sitetest.Request(t, "GET", "http://"+front+"/a.txt", "", "Cookie", "session=three")
	require.Equal(t, http.StatusOK, a.Status, "%v %s", a.Header, nodes[0])

	for path, want := range map[string]int{
		livePath: 200, "/filewallball/health": 200, "/metrics": 200,
		"/filewallball/stats": 404, "/filewallball/keys": 404, "/config/": 404, "/filewallball/health/live/..%2f..%2fkeys": 404, "/stop": 404,
	} {
		require.Equal(t, want, sitetest.Request(t, "GET", "http://"+nodes[0].status+path, "").Status, path)
	}
	require.Equal(t, 404, sitetest.Request(t, "POST", "http://"+nodes[0].status+"/filewallball/health", "").Status)
}

// refusesStrangers checks that users cannot do what they have no right to.
func refusesStrangers(t *testing.T, port string) {
	t.Helper()
	for _, user := range []string{"caddy", "application"} {
		require.ErrorContains(t, client(t, port, user, "wrong").Ping(t.Context()).Err(), "WRONGPASS")
		known := client(t, port, user, password)
		require.ErrorContains(t, known.ConfigGet(t.Context(), "*").Err(), "NOPERM")
		require.ErrorContains(t, known.FlushAll(t.Context()).Err(), "NOPERM")
	}
	require.Error(t, client(t, port, "default", password).Ping(t.Context()).Err(), "the default user is off")
	require.ErrorContains(t, client(t, port, "application", password).Get(t.Context(), "fwb:tag:a").Err(), "NOPERM")
}

func TestNodeOfComposeWorksOverTLS(t *testing.T) {
	files := redistest.StartWith(t, redistest.Options{TLS: true}).Files()
	certificates := t.TempDir()
	for from, to := range map[string]string{files.CA: "ca.crt", files.ServerCert: "redis.crt", files.ServerKey: "redis.key"} {
		text, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(certificates, to), text, 0o600))
	}
	project := compose(t, "compose.yml", "compose.tls.yml")
	port := startRedis(t, with(environment(project.Services["redis"]), "REDIS_TLS", certificates)...)
	config := t.TempDir() // /etc/caddy, with what is mounted there
	require.NoError(t, os.Mkdir(filepath.Join(config, "redis.d"), 0o700))
	for file, as := range map[string]string{"Caddyfile": "Caddyfile", "tls/redis.conf": "redis.d/redis.conf"} {
		require.NoError(t, os.WriteFile(filepath.Join(config, as), []byte(read(t, file)), 0o600))
	}
	env := with(with(environment(project.Services["node1"]), "REDIS_HOST", "127.0.0.1"), "REDIS_PORT", port)
	n := startNode(t, filepath.Join(config, "Caddyfile"), sitetest.Files(t, map[string]string{"a.txt": "hello"}), with(env, "REDIS_CA", certificates+"/ca.crt")...)
	n.worksWithRedis(t, "one")
}

func TestNodeOfKubernetesWorks(t *testing.T) {
	_, objects := build(t)
	var env []string
	for name, value := range objects["ConfigMap redis-config"].at(t, "data").(map[string]any) {
		env = append(env, name+"="+value.(string))
	}
	secret := objects["Secret redis-secret"].at(t, "stringData", "REDIS_PASSWORD").(string)
	port := startRedis(t, "REDIS_PASSWORD="+secret)
	config := t.TempDir()
	caddyfile := objects["ConfigMap caddyfile"].at(t, "data", "Caddyfile").(string)
	require.NoError(t, os.WriteFile(filepath.Join(config, "Caddyfile"), []byte(caddyfile), 0o600))
	require.Equal(t, read(t, "redis/users.acl"), objects["ConfigMap redis-start"].at(t, "data", "users.acl"))
	env = with(with(with(env, "REDIS_HOST", "127.0.0.1"), "REDIS_PORT", port), "REDIS_PASSWORD", secret)
	n := startNode(t, filepath.Join(config, "Caddyfile"), sitetest.Files(t, map[string]string{"a.txt": "hello"}), env...)
	n.worksWithRedis(t, "one")
}

func TestNodeOfSystemdReadsItsCredential(t *testing.T) {
	port := startRedis(t, "REDIS_PASSWORD="+password)
	credentials := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(credentials, "redis-password"), []byte(password+"\n"), 0o600))
	env := []string{"CREDENTIALS_DIRECTORY=" + credentials}
	for _, line := range regexp.MustCompile(`(?m)^Environment=(.*)$`).FindAllStringSubmatch(read(t, "systemd/filewallball.conf"), -1) {
		env = append(env, line[1])
	}
	n := startNode(t, mustAbs(t, filepath.Join(dir, "systemd/Caddyfile")), sitetest.Files(t, map[string]string{"a.txt": "hello"}),
		with(with(with(env, "REDIS_HOST", "127.0.0.1"), "REDIS_PORT", port), "XDG_DATA_HOME", t.TempDir())...)
	n.worksWithRedis(t, "one")
}

// The rights in the file are those in the docs.
func TestRightsOfTheUsersAreThoseOfTheDocs(t *testing.T) {
	page, err := os.ReadFile("../../../docs/operations.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```\nuser caddy (.*?)\n```").FindStringSubmatch(string(page))
	require.NotNil(t, block)
	line := regexp.MustCompile(`(?m)^user caddy (.*)$`).FindStringSubmatch(read(t, "redis/users.acl"))
	require.NotNil(t, line)
	rights := func(text string) []string {
		return slices.Sorted(slices.Values(regexp.MustCompile(`\+\S+`).FindAllString(text, -1)))
	}
	require.Equal(t, rights(block[1]), rights(line[1]))
	require.Contains(t, line[1], "-@all")
}
