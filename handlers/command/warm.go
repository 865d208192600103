package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
)

func warmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "warm <route> [<id>...]",
		Short: "Fills the cache in advance",
		Long: `Loads the records of these identities from a route's source, so that later
requests find them in the cache. Without identities, it loads those of all files
of a route with source file_system. The names of routes are those in stats.`,
		Example: `  $ caddy filewallball warm downloads
  $ caddy filewallball warm file_metadata@example.com:12 /report.txt /thesis.pdf
  $ psql -At -c 'select uuid from files' | caddy filewallball warm downloads --ids-file -`,
		Args:              wants(cobra.MinimumNArgs(1), "a route's name, as stats shows it"),
		ValidArgsFunction: upTo(1, completeRoutes),
	}
	asJSON := jsonFlag(cmd)
	flags := cmd.Flags()
	file := flags.String("ids-file", "", "Read the identities from this file, or from standard input with -, one on each line")
	concurrency := flags.Int("concurrency", 0, "How many are loaded at the same time, 1 to 64; default 4")
	rate := flags.Float64("rate", 0, "The most that are loaded per second; default: no limit")
	root := flags.String("root", "", "The site's root, for a source file_system that has none of its own")
	fs := flags.String("fs", "", "The site's file system, for a source file_system that has none of its own")
	_ = cmd.MarkFlagFilename("ids-file")
	_ = cmd.MarkFlagDirname("root")
	for _, flag := range []string{"concurrency", "rate", "fs"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	cmd.RunE = running(func(c *call, args []string) error {
		if flags.Changed("concurrency") {
			if err := wire.CheckConcurrency(*concurrency); err != nil {
				return usageError{fmt.Errorf("--%w", err)}
			}
		}
		if flags.Changed("rate") {
			if err := wire.CheckRate(*rate); err != nil {
				return usageError{fmt.Errorf("--%w", err)}
			}
		}
		ids, err := c.identities(args[1:], *file)
		if err != nil {
			return err
		}
		return c.warm(wire.WarmRequest{
			Route: args[0], IDs: ids, Concurrency: *concurrency, Rate: *rate, Root: *root, FS: *fs,
		}, *asJSON)
	})
	return cmd
}

// identities are those of the command line or of a file; nil if there are neither.
func (c *call) identities(args []string, file string) (ids []string, err error) {
	switch {
	case file == "" && len(args) == 0:
		return nil, nil
	case file == "":
		ids = args
	case len(args) > 0:
		return nil, usageError{errors.New("identities are given twice: want arguments or --ids-file")}
	default:
		var content []byte
		if file == "-" {
			content, err = c.readInput("identities, one on each line")
		} else {
			content, err = os.ReadFile(file)
		}
		if err != nil {
			return nil, fmt.Errorf("reading identities: %w", err)
		}
		ids = []string{}
		for line := range strings.Lines(string(content)) {
			if line = strings.TrimRight(line, "\r\n"); line != "" {
				ids = append(ids, line)
			}
		}
	}
	for i, id := range ids {
		// JSON would replace the invalid bytes
		if !utf8.ValidString(id) {
			return nil, usageError{fmt.Errorf("identity %d is not UTF-8 text", i+1)}
		}
	}
	return ids, nil
}

func (c *call) warm(what wire.WarmRequest, asJSON bool) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	last, err := c.followWarmUp(body, asJSON)
	if err != nil {
		return err
	}
	if !asJSON {
		c.writeWarmReport(last, what.IDs)
	}
	switch {
	case last.Error != "":
		return errors.New(last.Error)
	case !last.Finished:
		return errors.New("warming the cache: the connection ended before the warm-up")
	case last.Errors > 0:
		return fmt.Errorf("warming the cache: %s of %s failed", count(last.Errors), count(last.Done))
	}
	return nil
}

// followWarmUp shows the progress of a warm-up and returns the last line of the
// answer.
func (c *call) followWarmUp(body []byte, asJSON bool) (last wire.WarmProgress, err error) {
	var shown *progress
	if !asJSON {
		shown = c.progress("warming", false)
		defer shown.end()
	}
	resp, err := c.open(c.ctx, http.MethodPost, "warm", bytes.NewReader(body))
	if err != nil {
		return last, err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var line json.RawMessage
		if err := lines.Decode(&line); errors.Is(err, io.EOF) {
			return last, nil
		} else if err != nil {
			return last, fmt.Errorf("reading the progress of the warm-up: %w", err)
		}
		last = wire.WarmProgress{}
		if err := json.Unmarshal(line, &last); err != nil {
			return last, fmt.Errorf("reading the progress of the warm-up: %w", err)
		}
		if asJSON {
			if err := c.writeJSON(append(line, '\n')); err != nil {
				return last, err
			}
		}
		if !last.Finished {
			shown.at(int64(last.Done), int64(last.Total))
		}
	}
}

func (c *call) writeWarmReport(w wire.WarmProgress, ids []string) {
	for _, failed := range w.Failed {
		which := "a file"
		if i := failed.Index; i >= 0 && i < len(ids) {
			which = ids[i]
		}
		fmt.Fprintf(c.err, "%s: %s\n", printable(which), printable(failed.Error))
	}
	fmt.Fprintf(c.out, "warmed %s: %s loaded, %s present, %s absent, %s denied, %s failed; %.0f a second\n",
		count(w.Done), count(w.Loaded), count(w.Present), count(w.Absent), count(w.Denied), count(w.Errors), w.PerSecond)
	if w.Unstored > 0 {
		fmt.Fprintf(c.out, "%s of them were not stored\n", count(w.Unstored))
	}
}

// completeRoutes offers the routes of the running Caddy.
func completeRoutes(cmd *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var stats wire.Stats
	askToComplete(cmd, "stats", &stats)
	var names []cobra.Completion
	for _, name := range slices.SortedFunc(maps.Keys(stats.Routes), lookup.CompareNames) {
		if strings.HasPrefix(name, word) && harmless(name) {
			names = append(names, cobra.CompletionWithDesc(name, stats.Routes[name].Family))
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}
