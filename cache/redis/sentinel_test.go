package redis

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// switchingSentinel is a sentinel that fails over as soon as it has answered one
// question about the master.
func switchingSentinel(t *testing.T, from, to string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	var mu sync.Mutex
	master, epoch := from, 1
	answer := func(question string) string {
		mu.Lock()
		defer mu.Unlock()
		host, port, _ := net.SplitHostPort(master)
		bulk := func(words ...string) string {
			text := fmt.Sprintf("*%d\r\n", len(words))
			for _, word := range words {
				text += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
			}
			return text
		}
		defer func() { master, epoch = to, 2 }()
		if question == "master" {
			return bulk("ip", host, "port", port, "config-epoch", fmt.Sprint(epoch))
		}
		return bulk(host, port)
	}
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				for reader := bufio.NewReader(c); ; {
					command, err := readReply(reader)
					if err != nil {
						return
					}
					words, _ := command.([]any)
					text := "-ERR unknown command\r\n" // as to HELLO
					if len(words) > 1 && strings.EqualFold(fmt.Sprint(words[0]), "sentinel") {
						text = answer(strings.ToLower(fmt.Sprint(words[1])))
					}
					if _, err := c.Write([]byte(text)); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

// What a sentinel answers before and after a failover must not be taken together
// for a configuration that is newer than both, with the old master.
func TestAFailoverBetweenTwoQuestionsDoesNotProlongTheOldMaster(t *testing.T) {
	t.Parallel()
	const before, after = "127.0.0.1:1001", "127.0.0.1:1002"
	o := Options{
		Addresses: []string{switchingSentinel(t, before, after)}, MasterName: "m",
		DialTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
	}
	dial, err := newDialer(t.Context(), &o)
	require.NoError(t, err)
	s := newSentinels(&o, dial)
	defer s.Close()
	_, err = s.master(t.Context())
	require.NoError(t, err)
	m, err := s.master(t.Context())
	require.NoError(t, err)
	require.Equal(t, after, m.addr)
}
