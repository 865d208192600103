package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// endWithParent lets the kernel end a process if this program dies first.
func endWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}

// clockTick is the unit of times in /proc: USER_HZ is 100 on every Linux.
const clockTick = 10 * time.Millisecond

// cpuTime returns the CPU time of a process and its children.
func cpuTime(pid int) (time.Duration, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	own := fmt.Sprintf("/proc/%d/stat", pid)
	var sum time.Duration
	found := false
	for _, path := range stats {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // the process has ended
		}
		parent, ticks, err := parseStat(data)
		if err != nil {
			return 0, fmt.Errorf("reading %s: %w", path, err)
		}
		if path == own || parent == pid {
			sum += time.Duration(ticks) * clockTick
			found = found || path == own
		}
	}
	if !found {
		return 0, fmt.Errorf("process %d is gone", pid)
	}
	return sum, nil
}

// parseStat reads the parent, and the ticks in user and system mode, from
// /proc/<pid>/stat; see proc(5). The second field, a name in parentheses, may
// contain spaces and parentheses.
func parseStat(stat []byte) (parent int, ticks int64, err error) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("only %d fields", len(fields))
	}
	if parent, err = strconv.Atoi(string(fields[1])); err != nil {
		return 0, 0, err
	}
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, 0, err
		}
		ticks += n
	}
	return parent, ticks, nil
}

// pauseBriefly sleeps for about 0.1 ms; [time.Sleep] needs at least one.
func pauseBriefly() { _ = syscall.Nanosleep(&syscall.Timespec{Nsec: 50_000}, nil) }
