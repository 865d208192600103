package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// straced counts the system calls of a server and its children while f runs.
func straced(ctx context.Context, pid int, f func() error) (int, error) {
	path, err := exec.LookPath("strace")
	if err != nil {
		return 0, err
	}
	args := []string{"-c", "-f", "-q"}
	pids, err := withChildren(pid)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		args = append(args, "-p", strconv.Itoa(pid))
	}
	cmd := exec.CommandContext(ctx, path, args...)
	summary := new(bytes.Buffer)
	cmd.Stderr = summary
	endWithParent(cmd)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("starting strace: %w", err)
	}
	err = awaitTraced(ctx, pids)
	if err == nil {
		err = f()
	}
	_ = cmd.Process.Signal(syscall.SIGINT) // it then prints its summary
	_ = cmd.Wait()                         // fails because of the signal
	if err != nil {
		return 0, errors.Join(err, ctx.Err())
	}
	return parseStrace(summary.String())
}

// awaitTraced waits until strace is attached to all processes, up to five seconds.
func awaitTraced(ctx context.Context, pids []int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, pid := range pids {
		for !traced(pid) {
			select {
			case <-ctx.Done():
				return errors.New("strace may not attach to other processes on this machine")
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return nil
}

// traced reports whether strace is attached to all threads of a process.
func traced(pid int) bool {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return false
	}
	for _, task := range tasks {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", pid, task.Name()))
		if err == nil && strings.Contains(string(status), "\nTracerPid:\t0\n") {
			return false
		}
	}
	return true
}

// withChildren returns the IDs of a process and its children.
func withChildren(pid int) ([]int, error) {
	pids := []int{pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, fmt.Errorf("reading the children of process %d: %w", pid, err)
	}
	for _, field := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("reading the children of process %d: %w", pid, err)
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// straceTotal is the last line of strace's summary: percent, seconds, usecs/call,
// calls, and errors if there were any.
var straceTotal = regexp.MustCompile(`^\s*100\.00\s+[\d.]+\s+\d+\s+(\d+)\s.*total$`)

func parseStrace(summary string) (int, error) {
	for lines := bufio.NewScanner(strings.NewReader(summary)); lines.Scan(); {
		if match := straceTotal.FindStringSubmatch(lines.Text()); match != nil {
			return strconv.Atoi(match[1])
		}
	}
	return 0, fmt.Errorf("strace has printed no total:\n%s", summary)
}
