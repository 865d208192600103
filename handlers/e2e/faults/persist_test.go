// The embedded store with a file, under kill -9.

package faults

import (
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/filewallball/caddy-filewallball/cache/cachetest/ports"
)

func TestTheFileOfPersistOverCrashes(t *testing.T) {
	runAll(t, []scenario{
		{name: "kill -9 at random moments", run: killAtRandomMoments},
		{name: "two processes with one file", run: twoProcessesWithOneFile},
	})
}

// newKeeper starts a node without Redis, whose sessions are saved in a file.
func newKeeper(t *testing.T, file string) *node {
	t.Helper()
	n := &node{page: ports.Addr(t), admin: ports.Addr(t)}
	n.startKeeper(t, file)
	return n
}

func (n *node) startKeeper(t *testing.T, file string) {
	t.Helper()
	options := "\tfilewallball {\n\t\tmemory {\n\t\t\tpersist " + file + " 1s\n\t\t}\n\t}"
	n.start(t, options, "\thandle /plain {\n\t\tsession_lookup {cookie.session}\n\t\trespond in\n\t}\n")
	n.await(t)
}

// awaitSaved waits until a file has a session.
func awaitSaved(t *testing.T, file, id string) {
	t.Helper()
	require.Eventually(t, func() bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), base64.StdEncoding.EncodeToString([]byte(key(id))))
	}, 30*time.Second, 10*time.Millisecond)
}

// ask sends a request to the admin API of a node that may be killed meanwhile.
func (n *node) ask(method, endpoint, body string) (status int) {
	req, err := http.NewRequest(method, "http://"+n.admin+"/filewallball/"+endpoint, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	resp, err := n.client.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return 0
	}
	return resp.StatusCode
}

// A process that saves each second, and appends each revocation to its journal,
// is killed again and again. No session comes back whose revocation was answered;
// those from before the last save are there.
func killAtRandomMoments(t *testing.T) {
	rounds := 3
	if soak {
		rounds = 40
	}
	file := filepath.Join(t.TempDir(), "records")
	n := newKeeper(t, file)
	var old []string
	for i := range 2000 { // so that a save takes a while
		id := fmt.Sprintf("old-%d", i)
		require.Equal(t, http.StatusNoContent, n.ask(http.MethodPut, "keys/"+key(id)+"?ttl=1h", `{"user": "`+strings.Repeat("u", 200)+`"}`))
		old = append(old, id)
	}
	awaitSaved(t, file, old[len(old)-1])
	revoked := make(map[string]bool)
	answered := 0
	for round := range rounds {
		var mu sync.Mutex
		var writers sync.WaitGroup
		revoke := func(id string) (crashed bool) {
			mu.Lock()
			revoked[id] = false
			mu.Unlock()
			done := n.ask(http.MethodDelete, "keys/"+key(id), "") == http.StatusNoContent
			mu.Lock()
			defer mu.Unlock()
			revoked[id] = done
			return !done
		}
		writers.Go(func() { // sessions of the file go
			for len(old) > 1000 {
				id := old[len(old)-1]
				old = old[:len(old)-1]
				if revoke(id) {
					return
				}
			}
		})
		for w := range 3 { // and new ones
			writers.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("new-%d-%d-%d", round, w, i)
					if n.ask(http.MethodPut, "keys/"+key(id)+"?ttl=1h", `{"user": "u"}`) != http.StatusNoContent || revoke(id) {
						return
					}
				}
			})
		}
		<-time.After(time.Duration(rand.IntN(2500)) * time.Millisecond) // some moment of a save
		n.crash()
		writers.Wait()
		n.startKeeper(t, file)
		answered = 0
		for id, done := range revoked {
			if done {
				answered++
				got, err := n.send("GET", "/plain", id, "")
				require.NoError(t, err)
				require.Equal(t, http.StatusUnauthorized, got.status, "round %d: session %s is back", round, id)
			}
		}
		for i := 0; i < len(old); i += 50 {
			got, err := n.send("GET", "/plain", old[i], "")
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, got.status, "round %d: session %s of the file is lost", round, old[i])
		}
		require.NotContains(t, n.log.String(), "damaged")
		require.NotContains(t, n.log.String(), "not used")
	}
	t.Logf("%d revocations were answered, %d crashes", answered, rounds)
	require.Greater(t, answered, 10*rounds)
}

// A second process does not use the file of a first one, and reports that; the first
// continues to use it.
func twoProcessesWithOneFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "records")
	first := newKeeper(t, file)
	require.Equal(t, http.StatusNoContent, first.ask(http.MethodPut, "keys/"+key("one")+"?ttl=1h", `{"user": "u"}`))
	awaitSaved(t, file, "one")
	second := newKeeper(t, file)
	var statuses []int
	require.Eventually(t, func() bool {
		got, err := second.send("GET", "/plain", "one", "")
		statuses = append(statuses, got.status)
		return err == nil && got.status == http.StatusUnauthorized // 503 while it waits for the file
	}, 10*time.Second, 10*time.Millisecond)
	require.NotContains(t, statuses, http.StatusOK, "it has no records of the first")
	require.Equal(t, http.StatusNoContent, second.ask(http.MethodPut, "keys/"+key("two")+"?ttl=1h", `{"user": "u"}`))
	require.Eventually(t, func() bool {
		return strings.Contains(second.api(t, http.MethodGet, "health", "").body, "another process uses the file")
	}, 10*time.Second, 10*time.Millisecond)
	require.Equal(t, http.StatusNoContent, first.ask(http.MethodPut, "keys/"+key("three")+"?ttl=1h", `{"user": "u"}`))
	awaitSaved(t, file, "three")
	second.crash()
	first.crash()
	first.startKeeper(t, file)
	for id, status := range map[string]int{"one": http.StatusOK, "two": http.StatusUnauthorized, "three": http.StatusOK} {
		got, err := first.send("GET", "/plain", id, "")
		require.NoError(t, err)
		require.Equal(t, status, got.status, "session %s", id)
	}
}
