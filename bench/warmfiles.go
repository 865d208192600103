package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	admin "github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

// The name of the site whose files are warmed, and the prefix of their keys.
const (
	warmedFiles  = "warmed"
	warmedPrefix = "file:warmed:"
)

// warmFiles compares `caddy filewallball warm` with find, which reads the size and
// date of each file too, and with what a load of a record does to a file.
func (b *bench) warmFiles(ctx context.Context, r *results) error {
	n := 100_000
	if b.smoke {
		n = 500
	}
	tree := filepath.Join(b.dir, "tree")
	if err := writeTree(tree, n); err != nil {
		return fmt.Errorf("writing the files: %w", err)
	}
	defer os.RemoveAll(tree)
	s := &servers{processes: processes{dir: b.dir, workers: b.workers}, caddy: b.caddy, sites: make(map[string]site)}
	defer s.endAll()
	directives := lines("\troot "+tree, "\tfile_metadata {\n\t\tname "+warmedFiles+"\n\t\tkey "+warmedPrefix+"{id}\n\t\tsource file_system {\n\t\t\troot "+tree+"\n\t\t}\n\t}", "\tfile_server")
	if err := s.startCaddy(ctx, warmedFiles, b.nearOption(), []route{{warmedFiles, directives}}); err != nil {
		return err
	}
	find, err := exec.LookPath("find")
	if err != nil {
		b.say("missing: find; warming is not compared")
	}
	var ours, theirs, bare []float64 // files per second
	rate := func(took time.Duration) float64 { return float64(n) / took.Seconds() }
	for range b.rounds {
		if err := b.redis.deletePrefix(ctx, warmedPrefix); err != nil {
			return err
		}
		took, err := warmAll(ctx, b.caddy, s.sites[warmedFiles].admin, n)
		if err != nil {
			return err
		}
		ours = append(ours, rate(took))
		if find == "" {
			continue
		}
		if took, err = findAll(ctx, find, tree); err != nil {
			return err
		}
		theirs = append(theirs, rate(took))
		start := time.Now()
		if err := statAll(tree); err != nil {
			return err
		}
		bare = append(bare, rate(time.Since(start)))
	}
	if find != "" {
		spread := spreadOf(ratios(ours, theirs))
		r.findings = append(r.findings, finding{
			work: fmt.Sprintf("`caddy filewallball warm` of %d files / `find -printf '%%s %%T@'`", n), bar: "≥ 0.1", reached: spread.median >= 0.1,
			result: fmt.Sprintf("%s: %.0f against %.0f files/s", spread, spreadOf(ours).median, spreadOf(theirs).median),
		}, finding{
			work:   "a Go program that does to each file what file_server does before it serves it, and stores nothing / find",
			result: fmt.Sprintf("%s: %.0f against %.0f files/s", spreadOf(ratios(bare, theirs)), spreadOf(bare).median, spreadOf(theirs).median),
		})
	}
	return b.redis.deletePrefix(ctx, warmedPrefix)
}

// findAll runs find over all files, and returns how long that took.
func findAll(ctx context.Context, find, tree string) (time.Duration, error) {
	start := time.Now()
	cmd := exec.CommandContext(ctx, find, tree, "-type", "f", "-printf", "%s %T@\n")
	cmd.Stdout = io.Discard
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("running find: %w", err)
	}
	return time.Since(start), nil
}

// statAll does to each file what a load of its record must: stat it, open it, and
// stat the precompressed files beside it.
func statAll(tree string) error {
	return filepath.WalkDir(tree, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if _, err := os.Stat(path); err != nil {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = file.Stat()
		for _, suffix := range []string{".br", ".gz", ".zst"} {
			_, _ = os.Stat(path + suffix) // most files have none
		}
		return errors.Join(err, file.Close())
	})
}

// writeTree writes n small files, a thousand in each directory.
func writeTree(tree string, n int) error {
	for i := range n {
		dir := filepath.Join(tree, fmt.Sprintf("%03d", i/1000))
		if i%1000 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%06d.txt", i)), []byte("bench"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// deletePrefix deletes the keys with a prefix.
func (r *redisServer) deletePrefix(ctx context.Context, prefix string) error {
	c, err := r.openCache()
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.DeletePrefix(ctx, prefix)
	return err
}

// warmAll warms all files, checks that each was loaded, and returns how long that
// took.
func warmAll(ctx context.Context, caddy, address string, n int) (time.Duration, error) {
	start := time.Now()
	out, err := exec.CommandContext(ctx, caddy, "filewallball", "warm", warmedFiles, "--address", address, "--json").Output()
	took := time.Since(start)
	if err != nil {
		return 0, fmt.Errorf("warming: %w", err)
	}
	var last admin.WarmProgress
	if err := json.Unmarshal(lastLine(out), &last); err != nil {
		return 0, fmt.Errorf("reading the result of warming: %w", err)
	}
	if !last.Finished || last.Loaded != n || last.Unstored != 0 {
		return 0, violation{fmt.Sprintf("warming loaded %d of %d files, %d unstored, %d errors", last.Loaded, n, last.Unstored, last.Errors)}
	}
	return took, nil
}

// lastLine returns the last line that is not empty.
func lastLine(out []byte) (last []byte) {
	for line := range bytes.Lines(out) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			last = line
		}
	}
	return last
}
