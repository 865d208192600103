package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// wrkScript builds all requests before it sends the first one, and prints its
// counts at the end.
const wrkScript = `
local requests, at = {}, 0

function init(args)
	local before, after = args[2], args[3] .. "\r\n"
	for id in io.lines(args[1]) do
		requests[#requests + 1] = before .. id .. "\r\n" .. after
	end
end

function request()
	at = at % #requests + 1
	return requests[at]
end

function done(summary, latency)
	local e = summary.errors
	io.write(string.format('counted {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "broken": %d, "refused": %d}\n',
		summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
		e.connect + e.read + e.write + e.timeout, e.status))
end
`

// wrk sends loads with the program wrk.
type wrk struct {
	path, script, dir string
	threads           int
}

// findWrk returns nil where wrk is not installed.
func findWrk(dir string, threads int) (*wrk, error) {
	path, err := exec.LookPath("wrk")
	if err != nil {
		return nil, nil
	}
	w := &wrk{path: path, script: filepath.Join(dir, "wrk.lua"), dir: dir, threads: threads}
	return w, os.WriteFile(w.script, []byte(wrkScript), 0o600)
}

// can reports whether wrk can send this load. It cannot send HEAD, for it waits
// for a body, nor each session once.
func (w *wrk) can(l load) bool {
	return w != nil && l.visits == nil && l.template.method != http.MethodHead
}

func (w *wrk) run(ctx context.Context, l load) (responses, error) {
	visits, err := l.sessions.write(w.dir)
	if err != nil {
		return responses{}, err
	}
	defer os.Remove(visits)
	before, _, _ := strings.Cut(l.template.text("\x00"), "\x00")
	// wrk counts its duration in whole seconds
	seconds := max(1, int(l.duration.Round(time.Second)/time.Second))
	out, err := exec.CommandContext(ctx, w.path,
		"-t"+strconv.Itoa(min(w.threads, l.connections)), "-c"+strconv.Itoa(l.connections),
		"-d"+strconv.Itoa(seconds)+"s", "--timeout", "10s",
		"-s", w.script, "http://"+l.addr+l.template.path, "--", visits, before, l.template.header).CombinedOutput()
	if err != nil {
		return responses{}, fmt.Errorf("running wrk: %w\n%s", err, out)
	}
	return parseWrk(string(out), l.template)
}

// parseWrk reads what wrkScript prints. Of statuses, wrk only counts those of 400
// and more.
func parseWrk(out string, template requestTemplate) (responses, error) {
	_, text, found := strings.Cut(out, "counted ")
	if !found {
		return responses{}, fmt.Errorf("wrk has printed no counts:\n%s", out)
	}
	var counted struct{ Requests, Microseconds, P50, P99, Broken, Refused int }
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&counted); err != nil {
		return responses{}, fmt.Errorf("reading wrk's counts: %w", err)
	}
	refused := 0
	if template.want >= http.StatusBadRequest {
		refused = counted.Requests
	}
	if counted.Broken > 0 || counted.Refused != refused {
		return responses{}, violation{fmt.Sprintf("%s %s: of %d responses, %d have a status of 400 or more, want %d; %d failed",
			template.method, template.path, counted.Requests, counted.Refused, refused, counted.Broken)}
	}
	microseconds := func(n int) time.Duration { return time.Duration(n) * time.Microsecond }
	return responses{
		count: counted.Requests, took: microseconds(counted.Microseconds),
		p50: microseconds(counted.P50), p99: microseconds(counted.P99),
	}, nil
}
