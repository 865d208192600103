//go:build !linux

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// endWithParent does nothing: only Linux has this.
func endWithParent(*exec.Cmd) {}

// pauseBriefly sleeps for at least 0.05 ms.
func pauseBriefly() { time.Sleep(50 * time.Microsecond) }

// cpuTime returns the CPU time of a process and its children, from ps.
func cpuTime(pid int) (time.Duration, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,time=").Output()
	if err != nil {
		return 0, fmt.Errorf("running ps: %w", err)
	}
	var sum time.Duration
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 || fields[0] != strconv.Itoa(pid) && fields[1] != strconv.Itoa(pid) {
			continue
		}
		spent, err := parseClock(fields[2])
		if err != nil {
			return 0, fmt.Errorf("reading the output of ps: %w", err)
		}
		sum += spent
	}
	return sum, nil
}

// parseClock reads a time in the form [[dd-]hh:]mm:ss[.cc].
func parseClock(text string) (time.Duration, error) {
	days, rest, found := strings.Cut(text, "-")
	if !found {
		days, rest = "0", text
	}
	var seconds float64
	for _, part := range strings.Split(rest, ":") {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return 0, err
		}
		seconds = seconds*60 + n
	}
	n, err := strconv.Atoi(days)
	if err != nil {
		return 0, err
	}
	return time.Duration((seconds + float64(n)*24*60*60) * float64(time.Second)), nil
}
