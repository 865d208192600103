package matrix

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/redistest"
	"github.com/filewallball/caddy-filewallball/handlers/sitetest"
)

// seed is that of the choice of pairs, or of the environment's, to run others.
func seed(t *testing.T) uint64 {
	n := uint64(10)
	if text := os.Getenv("FILEWALLBALL_SEED"); text != "" {
		var err error
		n, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("seed %d; another one: FILEWALLBALL_SEED=n", n)
	return n
}

// matrix is nodes with the lookups of slots.
type matrix struct {
	*oracle
	t      *testing.T
	option [2]string
	nodes  []sitetest.Site
	sides  []int // which side of the slots a node has
	slots  []slot
	client *http.Client
	ids    []string
	stale  int // answers that were
	wrong  int
	mu     sync.Mutex
}

func newMatrix(t *testing.T, near, far int) *matrix {
	random := rand.New(rand.NewPCG(seed(t), 1))
	app := newApplication(t)
	m := &matrix{t: t, slots: slots(random, near, far), oracle: &oracle{root: t.TempDir() + "/", app: app, written: make(map[string]string)}}
	m.client = &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 16},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       20 * time.Second,
	}
	t.Cleanup(m.client.CloseIdleConnections)
	for i := range 5 {
		m.ids = append(m.ids, m.newID(i, i%2 == 0))
	}
	// the hash of an identity is another identity
	sum := sha256.Sum256([]byte(m.ids[0]))
	m.ids = append(m.ids, hex.EncodeToString(sum[:]), "sha256:"+hex.EncodeToString(sum[:]), strings.Repeat("l", 600))
	return m
}

// newID is the name of a file, which may exist.
func (m *matrix) newID(i int, exists bool) string {
	name := fmt.Sprintf("f%d", i)
	if exists {
		old := time.Now().Add(-time.Hour)
		require.NoError(m.t, os.WriteFile(filepath.Join(m.root, name), make([]byte, 1000+i), 0o644))
		require.NoError(m.t, os.Chtimes(filepath.Join(m.root, name), old, old))
	}
	return m.root + name
}

func (m *matrix) routes(node, side int) string {
	var b strings.Builder
	for _, s := range m.slots {
		b.WriteString(s.routeOf(side, node, m.app.URL, m.root))
	}
	return b.String()
}

// ask sends one request, and requires a right answer.
func (m *matrix) ask(node int, s slot, host, id, when string) answer {
	side := m.sides[node]
	right := m.want(s, side, host, id)
	path := "/x"
	if strings.HasPrefix(id, m.root) {
		path = "/" + strings.TrimPrefix(id, m.root)
	}
	req, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s/s%d%s", m.nodes[node].Page, s.number, path), http.NoBody)
	if !assert.NoError(m.t, err) {
		return answer{}
	}
	req.Header.Set("X-Site", host)
	req.Header.Set("X-Id", id)
	req.Header.Set("X-Question", "forged")
	resp, err := m.client.Do(req)
	if !assert.NoError(m.t, err) {
		return answer{}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	assert.NoError(m.t, err)
	got := answer{resp.StatusCode, string(text), resp.Header.Get("Location"), resp.Header.Get("Cache-Status")}
	if m.app.down.Load() && len(right) == 1 { // since the answer was worked out
		right = append(right, answer{status: http.StatusServiceUnavailable})
	}
	if strings.Contains(got.status2, "stale") {
		m.mu.Lock()
		m.stale++
		m.mu.Unlock()
	}
	if isRight(got, right) {
		return got
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wrong++; m.wrong > 3 {
		return got
	}
	assert.Fail(m.t, "an answer is not right", "%s, node %d, slot %d, host %s, identity %.80s:\n%+v\nbeside %+v\nanswers %s\nwant    %s",
		when, node, s.number, host, id, s.side[side], s.side[1-side], got, right)
	return got
}

var hosts = []string{"a.test", "b.test"}

// askAll asks all slots of the nodes for identities, several times, at the same
// time where together is set.
func (m *matrix) askAll(when string, nodes []int, ids []string, times int) {
	m.t.Helper()
	work := make(chan func())
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for do := range work {
				do()
			}
		})
	}
	for range times {
		for _, s := range m.slots {
			for _, node := range nodes {
				for i, id := range ids {
					work <- func() { m.ask(node, s, hosts[(i+node)%2], id, when) }
				}
			}
		}
	}
	close(work)
	workers.Wait()
	if m.t.Failed() {
		m.t.FailNow()
	}
}

// settings gives the nodes the lookups of sides.
func (m *matrix) settings(sides ...int) {
	m.sides = sides
	for node, s := range m.nodes {
		s.Reload(m.t, m.option[node], m.routes(node, sides[node]))
	}
}

func TestNoLookupIsAnsweredByAnotherQuestion(t *testing.T) {
	server := redistest.Start(t)
	m := newMatrix(t, 40, 40)
	for node, prefix := range prefixes {
		m.option[node] = "filewallball {\nredis " + server.Addr() + "\nlookup_timeout 5s\n}"
		if prefix != "" {
			m.option[node] = strings.Replace(m.option[node], "\n}", "\nkey_prefix "+prefix+"\n}", 1)
		}
	}
	m.sides = []int{0, 1}
	m.nodes = make([]sitetest.Site, 2)
	for node := range m.nodes {
		m.nodes[node] = sitetest.ServeProcess(t, m.option[node], m.routes(node, node))
	}
	both := []int{0, 1}

	m.askAll("cold", []int{0}, m.ids, 1)
	m.askAll("after the other node", []int{1}, m.ids, 1)
	m.askAll("warm", both, m.ids, 2)
	m.meet(1000)
	m.applicationWrites(server.Client(), 2000)
	m.warm(3000)
	m.purgeTags()
	m.askAll("after purges", both, m.ids, 1)

	m.settings(1, 0)
	m.askAll("after a reload that swaps the sides", both, m.ids, 2)
	m.meet(4000)
	m.restore(server.Client())
	m.refresh()
	m.settings(0, 0)
	m.askAll("with one configuration", both, m.ids, 2)
	m.settings(0, 1)
	m.outage(server)
}

// meet asks for identities that are new at the same time on all nodes, while the
// application is slow: loads wait for each other.
func (m *matrix) meet(from int) {
	m.app.slow.Store(true)
	defer m.app.slow.Store(false)
	ids := []string{m.newID(from, true)}
	m.askAll("together", []int{0, 1, 0, 1}, ids, 1)
}

// applicationWrites stores records as applications do: they are everybody's.
func (m *matrix) applicationWrites(client redis.UniversalClient, from int) {
	id := m.newID(from, true)
	for _, s := range m.slots {
		for _, p := range s.side {
			key, word := s.keyOf(p, id), fmt.Sprintf("written-%d", s.number)
			require.NoError(m.t, client.Set(m.t.Context(), key, fmt.Sprintf(`{"question": %q, "user_id": "written"}`, word), time.Hour).Err())
			m.mu.Lock()
			m.written[key] = word
			m.mu.Unlock()
		}
	}
	m.askAll("where the application has written", []int{0, 1}, []string{id}, 2)
}

// warm has each node load records before they are asked for.
func (m *matrix) warm(from int) {
	id := m.newID(from, true)
	for node, side := range m.sides {
		for _, s := range m.slots {
			p := s.side[side]
			if p.source == "none" || p.site == "{http.request.header.X-Site}" {
				continue // without a request, its header has no value
			}
			asked := id
			if p.source == "file_system" {
				asked = "/" + strings.TrimPrefix(id, m.root)
			}
			a := m.nodes[node].API(m.t, http.MethodPost, "warm", fmt.Sprintf(`{"route": "n%d", "ids": [%q]}`, s.number, asked))
			require.Equal(m.t, http.StatusOK, a.Status, a.Body)
		}
	}
	m.askAll("after a warm-up", []int{0, 1}, []string{id}, 1)
}

// purgeTags drops the records of all tags. Each question is asked anew.
func (m *matrix) purgeTags() {
	epoch := m.app.epoch.Add(1)
	for _, s := range m.slots {
		for _, node := range m.nodes { // tags are under the key_prefix
			a := node.API(m.t, http.MethodPost, "purge", fmt.Sprintf(`{"tag": "t%d"}`, s.number))
			require.Equal(m.t, http.StatusOK, a.Status, a.Body)
		}
	}
	for node, side := range m.sides {
		for _, s := range m.slots {
			p, id := s.side[side], m.ids[1]
			if p.source != "http" {
				continue
			}
			require.Eventually(m.t, func() bool {
				m.ask(node, s, hosts[0], id, "after a purge")
				return m.app.askedSince(epoch, p.question(hosts[0]), id)
			}, 10*time.Second, time.Millisecond, "node %d goes on with records whose tag was purged", node)
		}
	}
}

// restore takes the records of one node, and puts them back into the other one,
// which is configured differently, after all are gone.
func (m *matrix) restore(client redis.UniversalClient) {
	backup := m.nodes[1].API(m.t, http.MethodGet, "backup", "")
	require.Equal(m.t, http.StatusOK, backup.Status)
	a := m.nodes[0].API(m.t, http.MethodPost, "purge", `{"prefix": "p:"}`)
	require.Equal(m.t, http.StatusOK, a.Status, a.Body)
	m.askAll("after a purge of all", []int{0}, m.ids[:2], 1)
	a = m.nodes[1].API(m.t, http.MethodPost, "purge", `{"prefix": "p:"}`)
	require.Equal(m.t, http.StatusOK, a.Status, a.Body)
	a = m.nodes[0].API(m.t, http.MethodPost, "restore", backup.Body)
	require.Equal(m.t, http.StatusOK, a.Status, a.Body)
	var counts struct{ Restored int }
	require.NoError(m.t, json.Unmarshal([]byte(a.Body), &counts))
	require.Greater(m.t, counts.Restored, len(m.slots), a.Body)
	require.Positive(m.t, client.DBSize(m.t.Context()).Val())
	m.askAll("after a restore", []int{0, 1}, m.ids, 2)
}

// refresh lets records be refreshed ahead and expire.
func (m *matrix) refresh() {
	all := m.slots
	defer func() { m.slots = all }()
	m.slots = nil
	for _, s := range all {
		if s.brief {
			m.slots = append(m.slots, s)
		}
	}
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
		m.askAll("while records are refreshed", []int{0, 1}, m.ids[:3], 1)
	}
}

// outage asks while neither Redis nor the application answers: old records are
// used, but no other's.
func (m *matrix) outage(server *redistest.Server) {
	both := []int{0, 1}
	m.askAll("before an outage", both, m.ids, 1)
	m.app.down.Store(true)
	server.Stop()
	m.askAll("in an outage", both, m.ids, 1)
	require.Greater(m.t, m.stale, 10, "hardly any stale records were used")
}

func TestNoReloadIsAnsweredByAnotherQuestion(t *testing.T) {
	m := newMatrix(t, 40, 40)
	m.option[0] = "filewallball"
	m.sides = []int{0}
	m.nodes = []sitetest.Site{sitetest.Serve(t, m.option[0], m.routes(0, 0))}
	node := []int{0}
	m.askAll("cold", node, m.ids, 2)
	for range 2 {
		for _, side := range []int{1, 0} {
			backup := m.nodes[0].API(t, http.MethodGet, "backup", "")
			require.Equal(t, http.StatusOK, backup.Status)
			m.settings(side)
			m.askAll("after a reload", node, m.ids, 2)
			a := m.nodes[0].API(t, http.MethodPost, "restore", backup.Body)
			require.Equal(t, http.StatusOK, a.Status, a.Body)
			m.askAll("after a restore", node, m.ids, 2)
		}
	}
}

// Within one configuration, two lookups that share keys have one question, or are
// an error that names both.
func TestOneConfigurationHasOneQuestionPerKey(t *testing.T) {
	m := newMatrix(t, 60, 60)
	refused := 0
	for _, s := range m.slots {
		a, b := s.side[0], s.side[1]
		routes := s.routeOf(0, 0, m.app.URL, m.root) + strings.NewReplacer(
			fmt.Sprintf("name n%d", s.number), fmt.Sprintf("name other%d", s.number),
			fmt.Sprintf("/s%d/", s.number), fmt.Sprintf("/other%d/", s.number),
		).Replace(s.routeOf(1, 0, m.app.URL, m.root))
		err := validate(sitetest.Site{Page: "127.0.0.1:0", Admin: "off"}.Config("filewallball", routes))
		if !conflict(a, b) {
			require.NoError(t, err, "%+v\n%+v", a, b)
			continue
		}
		refused++
		require.Error(t, err, "%+v\n%+v", a, b)
		for _, name := range []string{fmt.Sprintf("'n%d'", s.number), fmt.Sprintf("'other%d'", s.number)} {
			require.ErrorContains(t, err, name)
		}
	}
	require.Greater(t, refused, len(m.slots)/2)
}

// conflict reports whether two lookups with one key may ask different questions.
func conflict(a, b point) bool {
	same := a
	same.forwards = b.forwards // what is done with an answer is no part of the question
	if a.source == "none" {
		same.file = b.file
	}
	return same != b
}

func validate(caddyfile string) error {
	config, err := sitetest.Adapt(caddyfile)
	if err != nil {
		return err
	}
	var parsed caddy.Config
	if err := json.Unmarshal(config, &parsed); err != nil {
		return err
	}
	return caddy.Validate(&parsed)
}
