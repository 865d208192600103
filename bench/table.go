package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// spread is the median, the least and the largest of some values.
type spread struct{ median, low, high float64 }

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return spread{}
	}
	return spread{(sorted[(n-1)/2] + sorted[n/2]) / 2, sorted[0], sorted[n-1]}
}

func (s spread) String() string { return fmt.Sprintf("%.2f (%.2f–%.2f)", s.median, s.low, s.high) }

// finding is a result of its own, which is no ratio between sites.
type finding struct {
	work, bar string // without a bar, the result is only for comparison
	reached   bool
	result    string
}

// grid is a table with columns of its own.
type grid struct {
	header []string
	rows   [][]string
}

func (g grid) table(out *strings.Builder) {
	fmt.Fprintf(out, "| %s |\n|%s\n", strings.Join(g.header, " | "), strings.Repeat("---|", len(g.header)))
	for _, row := range g.rows {
		fmt.Fprintf(out, "| %s |\n", strings.Join(row, " | "))
	}
	out.WriteString("\n")
}

// tables formats all results as Markdown.
func (b *bench) tables(r results) string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", b.conditions())
	barsTable(&out, r.outcomes)
	findingsTable(&out, r.findings)
	detailsTable(&out, r.outcomes)
	for _, g := range r.growth {
		growthTable(&out, g)
	}
	for _, g := range r.grids {
		g.table(&out)
	}
	return out.String()
}

// conditions describes the machine, the versions of all programs, and the loads.
func (b *bench) conditions() string {
	versions := []string{runtime.Version()}
	for _, tool := range [][]string{{b.caddy, "version"}, {"redis-server", "--version"}, {"nginx", "-v"}, {"wrk", "-v"}} {
		out, _ := exec.Command(tool[0], tool[1:]...).CombinedOutput() // wrk's status is 1
		if line, _, _ := strings.Cut(string(out), "\n"); line != "" {
			versions = append(versions, toolVersion(tool[0], line))
		}
	}
	return fmt.Sprintf("%s, %s/%s, %d CPUs: %s. Each server has %d of its workers and threads; %d connections; "+
		"for files of 10 MiB and those 5 ms away %d; medians of %d rounds of %s, in parentheses the least and the most.\n",
		time.Now().Format(time.DateOnly), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), strings.Join(versions, ", "),
		b.workers, connections, few, b.rounds, b.duration)
}

// toolVersion returns name and version from the first line of a tool's output.
func toolVersion(tool, line string) string {
	fields := append(strings.Fields(line), "", "", "")
	switch filepath.Base(tool) {
	case "caddy":
		return "Caddy " + fields[0]
	case "redis-server": // Redis server v=7.0.15 sha=…
		return "Redis " + strings.TrimPrefix(fields[2], "v=")
	case "nginx": // nginx version: nginx/1.22.1
		return strings.Replace(fields[2], "/", " ", 1)
	default: // wrk 4.1.0 [epoll] …
		return "wrk " + strings.TrimPrefix(fields[1], "debian/")
	}
}

func requestsPerSecond(s sample) float64 { return s.perSecond() }

// requestsPerCPU returns the number of requests for each second of CPU time, in
// units of 10 000.
func requestsPerCPU(s sample) float64 { return 1 / s.cpuPer10k() }

// ratios returns a bar's ratio in each round.
func (bar bar) ratios(rounds []map[string]sample, metric func(sample) float64) []float64 {
	var ratios []float64
	for _, samples := range rounds {
		ratios = append(ratios, bar.of(func(site string) float64 { return metric(samples[site]) }))
	}
	return ratios
}

func barsTable(out *strings.Builder, outcomes []outcome) {
	if len(outcomes) == 0 {
		return
	}
	out.WriteString("| work | bar | by requests/s | by CPU | reached |\n|---|---|---|---|---|\n")
	for _, o := range outcomes {
		rounds := o.warmRounds
		if o.coldOnly {
			rounds = o.coldRounds
		}
		for _, bar := range o.bars {
			speed := spreadOf(bar.ratios(rounds, requestsPerSecond))
			cpu := spreadOf(bar.ratios(rounds, requestsPerCPU))
			want, reached := "–", "–"
			if bar.want > 0 {
				want = fmt.Sprintf("≥ %.2f", bar.want)
				reached = verdict(speed.median >= bar.want, cpu.median >= bar.want)
			}
			fmt.Fprintf(out, "| %s: %s | %s | %s | %s | %s |\n", o.name, bar.work, want, speed, cpu, reached)
		}
	}
	out.WriteString("\n")
}

func verdict(bySpeed, byCPU bool) string {
	switch {
	case bySpeed && byCPU:
		return "yes"
	case bySpeed:
		return "by requests/s"
	case byCPU:
		return "by CPU"
	}
	return "**no**"
}

func findingsTable(out *strings.Builder, findings []finding) {
	if len(findings) == 0 {
		return
	}
	out.WriteString("| work | bar | result | reached |\n|---|---|---|---|\n")
	for _, f := range findings {
		bar, reached := "–", "–"
		if f.bar != "" {
			bar, reached = f.bar, verdict(f.reached, f.reached)
		}
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", f.work, bar, f.result, reached)
	}
	out.WriteString("\n")
}

func detailsTable(out *strings.Builder, outcomes []outcome) {
	if len(outcomes) == 0 {
		return
	}
	out.WriteString("| request | site | requests/s | p50 | p99 | CPU s per 10 000 | application calls | Redis round trips | system calls |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	for _, o := range outcomes {
		for _, v := range o.variants {
			if o.coldOnly {
				detail(out, o.name, v.site, o.coldRounds, "–")
				continue
			}
			calls := "–"
			if n, ok := o.calls[v.site]; ok {
				calls = fmt.Sprintf("%.1f", n)
			}
			detail(out, o.name, v.site, o.warmRounds, calls)
		}
		for _, v := range o.variants {
			if o.cold && !o.coldOnly {
				detail(out, o.name+", new sessions", v.site, o.coldRounds, "–")
			}
		}
	}
	out.WriteString("\n")
}

// detail writes the median of each figure of a site. Calls are per request.
func detail(out *strings.Builder, name, site string, rounds []map[string]sample, calls string) {
	median := func(metric func(sample) float64) float64 {
		var values []float64
		for _, samples := range rounds {
			values = append(values, metric(samples[site]))
		}
		return spreadOf(values).median
	}
	each := func(n int64, s sample) float64 { return float64(max(0, n)) / float64(s.count) }
	fmt.Fprintf(out, "| %s | %s | %.0f | %.2f ms | %.2f ms | %.2f | %.2f | %.2f | %s |\n", name, site,
		median(requestsPerSecond),
		median(func(s sample) float64 { return float64(s.p50.Microseconds()) / 1000 }),
		median(func(s sample) float64 { return float64(s.p99.Microseconds()) / 1000 }),
		median(sample.cpuPer10k),
		median(func(s sample) float64 { return each(s.application, s) }),
		median(func(s sample) float64 { return each(s.redis.roundTrips, s) }), calls)
}

// growthTable shows the CPU time of a request at each size. The columns "beside the
// first column" divide it by that of the first site, which is bare Caddy, and by
// the same ratio in the first row: more than 1 means that it grows faster.
func growthTable(out *strings.Builder, g growth) {
	fmt.Fprintf(out, "| %s |", g.what)
	for i, site := range g.sites {
		fmt.Fprintf(out, " %s, CPU µs per request |", site)
		if i > 0 {
			out.WriteString(" beside the first column, against the first row |")
		}
	}
	fmt.Fprintf(out, "\n|---|%s\n", strings.Repeat("---|", 2*len(g.sites)-1))
	for _, row := range g.rows {
		fmt.Fprintf(out, "| %s |", row.label)
		bare := row.cost(g.sites[0])
		for i, site := range g.sites {
			fmt.Fprintf(out, " %.1f |", row.cost(site))
			if i > 0 {
				first := g.rows[0].cost(site) / g.rows[0].cost(g.sites[0])
				fmt.Fprintf(out, " %.2f |", row.cost(site)/bare/first)
			}
		}
		out.WriteString("\n")
	}
	out.WriteString("\n")
}

// cost is the median of the CPU time per request, in microseconds.
func (r growthRow) cost(site string) float64 {
	var costs []float64
	for _, s := range r.samples[site] {
		costs = append(costs, s.cpuPer10k()*100)
	}
	return spreadOf(costs).median
}
