package main

import (
	"bufio"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestResponsesOfWrkMustBeWholeAndHaveTheRightStatus(t *testing.T) {
	t.Parallel()
	out := `Running 1s test @ http://127.0.0.1:1/
counted {"requests": 1000, "microseconds": 500000, "p50": 1500, "p99": 9000, "broken": %broken, "refused": %refused}
`
	for name, c := range map[string]struct {
		broken, refused string
		want            int
		ok              bool
	}{
		"all found":              {"0", "0", 200, true},
		"some refused":           {"0", "1", 200, false},
		"some broken":            {"1", "0", 200, false},
		"all refused, as wanted": {"0", "1000", 404, true},
		"some should be absent":  {"0", "999", 404, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := parseWrk(strings.NewReplacer("%broken", c.broken, "%refused", c.refused).Replace(out), requestTemplate{want: c.want})
			if !c.ok {
				require.ErrorAs(t, err, new(violation))
				return
			}
			require.NoError(t, err)
			require.Equal(t, responses{1000, 500 * time.Millisecond, 1500 * time.Microsecond, 9 * time.Millisecond}, a)
			require.InDelta(t, 2000, a.perSecond(), 0)
		})
	}
	_, err := parseWrk("unable to connect", requestTemplate{})
	require.ErrorContains(t, err, "unable to connect")
}

func TestResponsesAreReadWithTheirBodies(t *testing.T) {
	t.Parallel()
	r := bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nX: y\r\n\r\nbody" +
		"HTTP/1.1 304 Not Modified\r\nEtag: x\r\n\r\n" +
		"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + // to HEAD
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"))
	for _, want := range []int{200, 304} {
		status, err := readResponse(r, false)
		require.NoError(t, err)
		require.Equal(t, want, status)
	}
	status, err := readResponse(r, true)
	require.NoError(t, err)
	require.Equal(t, 200, status)
	_, err = readResponse(r, false)
	require.ErrorContains(t, err, "has no Content-Length")
}

func TestRoundTripsAreReadsWithoutHousekeeping(t *testing.T) {
	t.Parallel()
	got, err := parseTraffic("# Stats\r\ntotal_reads_processed:100\r\n# Commandstats\r\n" +
		"cmdstat_getrange:calls=40,usec=1\r\ncmdstat_get:calls=3,usec=1\r\ncmdstat_pttl:calls=40,usec=1\r\n" +
		"cmdstat_ping:calls=30,usec=1\r\ncmdstat_client|tracking:calls=2,usec=1\r\ncmdstat_info:calls=7,usec=1\r\n")
	require.NoError(t, err)
	// 1 is the INFO command itself
	require.Equal(t, redisTraffic{roundTrips: 100 - 1 - 30 - 2 - 7, lookups: 40, canaries: 3}, got)
	require.EqualValues(t, 100-1-3-30-2-7, got.since(redisTraffic{}).roundTrips)
	got.scripts = 5
	require.EqualValues(t, 100-1-30-2-7, got.since(redisTraffic{}).roundTrips, "scripts get and set too")
	_, err = parseTraffic("redis_version:5.0.0\r\n")
	require.ErrorContains(t, err, "Redis 6 or newer")
}

func TestRedisBenchmarkPrintsItsRateLast(t *testing.T) {
	t.Parallel()
	for _, out := range []string{
		"\"test\",\"rps\",\"avg_latency_ms\"\n\"SET key {\"a\": 1, \"b\":2} EX 3600\",\"250000.50\",\"0.3\"\n",
		"\"GET x\",\"250000.50\"\r\n\r\n",
	} {
		rate, err := parseRedisBenchmark(out)
		require.NoError(t, err)
		require.InDelta(t, 250000.5, rate, 0)
	}
	_, err := parseRedisBenchmark("ERR unknown\n")
	require.Error(t, err)
}

func TestTotalOfStraceIsRead(t *testing.T) {
	t.Parallel()
	n, err := parseStrace("% time     seconds  usecs/call     calls    errors syscall\n" +
		" 90.00    0.000900           1       800       100 read\n" +
		"------ ----------- ----------- --------- --------- ----------------\n" +
		"100.00    0.001000           1      1234       100 total\n")
	require.NoError(t, err)
	require.Equal(t, 1234, n)
	_, err = parseStrace("strace: attach: Operation not permitted\n")
	require.ErrorContains(t, err, "not permitted")
}

func TestSpreadIsMedianLeastAndLargest(t *testing.T) {
	t.Parallel()
	require.Equal(t, spread{2, 1, 9}, spreadOf([]float64{9, 1, 2}))
	require.Equal(t, spread{2.5, 1, 9}, spreadOf([]float64{9, 1, 2, 3}))
	require.Equal(t, spread{}, spreadOf(nil))
}

func TestFewVisitorsSendMostRequests(t *testing.T) {
	t.Parallel()
	s := newSessions("test", 10_000)
	times := make([]int, len(s.ids))
	for _, i := range s.visits {
		times[i]++
	}
	require.Greater(t, times[0], times[9], "the first visitor sends more requests than the tenth")
	require.Greater(t, times[9], times[999])
	require.Equal(t, s.visits, newSessions("other", 10_000).visits, "the order is the same in each run")
	require.Less(t, slices.Max(s.evenly().visits), 10_000)
}

func TestTrafficIsChecked(t *testing.T) {
	t.Parallel()
	v := variant{site: "a site"}
	l := load{sessions: newSessions("test", 200), connections: 8}
	s := sample{responses: responses{count: 400}, application: 200, redis: redisTraffic{roundTrips: 100, lookups: 400}}
	require.NoError(t, v.check("", l, s, traffic{application: perSession, redis: perRequest}), "lookups may share round trips")
	require.NoError(t, v.check("", l, s, traffic{application: perSession, redis: anyNumber}))
	require.ErrorAs(t, v.check("", l, s, traffic{application: never, redis: perRequest}), new(violation))
	require.ErrorAs(t, v.check("", l, s, traffic{application: perSession, redis: perSession}), new(violation))
	l.connections = 1
	require.ErrorAs(t, v.check("", l, s, traffic{application: perSession, redis: perRequest}), new(violation), "over one connection, no lookups share a round trip")
	s.redis.roundTrips = 500
	l.connections = 8
	require.ErrorAs(t, v.check("", l, s, traffic{application: perSession, redis: perRequest}), new(violation), "more than one round trip for each lookup")
	s.redis.roundTrips = 100
	s.files.hits = 399
	require.ErrorAs(t, v.check("", l, s, traffic{application: perSession, redis: perRequest, files: never}), new(violation), "a file's record was not looked up")
	s.files.hits = 400
	require.NoError(t, v.check("", l, s, traffic{application: perSession, redis: perRequest, files: never}))
	s.files.loads = 1
	require.ErrorAs(t, v.check("", l, s, traffic{application: perSession, redis: perRequest, files: never}), new(violation), "a file's record was loaded again")
}

func TestPushesAreCountedByMessageAndKey(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]int64{
		"+OK\r\n": {0, 0},
		">2\r\n$10\r\ninvalidate\r\n*2\r\n$1\r\na\r\n$2\r\nbc\r\n": {1, 2},
		">2\r\n$10\r\ninvalidate\r\n_\r\n":                         {1, 0},
		"*2\r\n:1\r\n$-1\r\n":                                      {0, 0},
		"%1\r\n+a\r\n*3\r\n:1\r\n:2\r\n:3\r\n":                     {0, 0},
	} {
		w := &wire{reader: bufio.NewReader(strings.NewReader(text))}
		kind, err := w.skip()
		require.NoError(t, err, text)
		require.Equal(t, text[0], kind, text)
		require.Equal(t, want, [2]int64{w.pushes.Load(), w.keys.Load()}, text)
		require.Zero(t, w.reader.Buffered(), text)
	}
	w := &wire{reader: bufio.NewReader(strings.NewReader(":42\r\n-ERR no\r\n"))}
	_, err := w.skip()
	require.NoError(t, err)
	require.Equal(t, int64(42), w.number)
	_, err = w.skip()
	require.ErrorContains(t, err, "ERR no")
}

func TestCostOfReportsExcludesThatOfTheWrites(t *testing.T) {
	t.Parallel()
	all := []fleetSetup{{"broadcast", 0, 0, 1}, {"broadcast", 4, 0, 1}, {"default mode", 4, 2, 1}}
	turn := func(redis time.Duration, output int64, messages float64) []setupCost {
		return []setupCost{{elapsed: time.Second, redis: redis, output: output, messages: messages, node: 5 * time.Millisecond}}
	}
	g := reportGrid(all, [][]setupCost{
		turn(10*time.Millisecond, 0, 0), turn(18*time.Millisecond, 1000*4*55, 250), turn(14*time.Millisecond, 1000*2*77, 500),
	}, 1000)
	require.Equal(t, [][]string{
		{"broadcast", "0", "1000", "1 %", "10.0", "–", "–", "–", "–", "–"},
		{"broadcast", "4", "1000", "2 %", "18.0", "2.00", "55", "4.0", "0 %", "5.0"},
		{"default mode", "4", "1000", "1 %", "14.0", "2.00", "77", "1.0", "–", "–"},
	}, g.rows)
	require.Len(t, g.header, len(g.rows[0]))
}
