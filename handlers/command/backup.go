package command

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

func backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup [-o <file>]",
		Short: "Saves all records with the time each has left",
		Long: `Saves all records with the time each has left, one line of JSON a record. The file
is created when the backup is complete, and only its owner can read it; if the
backup fails, an older file of that name stays as it was. A file whose name ends in
.gz is compressed.`,
		Example: `  $ caddy filewallball backup -o cache.ndjson.gz
  $ caddy filewallball backup --prefix session: | gpg --encrypt -r ops > sessions.gpg`,
		Args: wants(cobra.NoArgs, "no arguments: the file is -o <file>"),
	}
	flags := cmd.Flags()
	output := flags.StringP("output", "o", "", "The file to write, or - for standard output")
	prefix := flags.String("prefix", "", "Save only records whose key begins with this, key_prefix included")
	tags := flags.Bool("tags", false, "Save the tags of the records, too")
	_ = cmd.MarkFlagFilename("output")
	_ = cmd.RegisterFlagCompletionFunc("prefix", completePrefixes)
	cmd.RunE = running(func(c *call, _ []string) error {
		if *output == "" && isTerminal(c.out) {
			return usageError{errors.New("a backup is not printed on a terminal: want -o <file>, or -o - to print it nevertheless")}
		}
		query := url.Values{}
		if *prefix != "" {
			query.Set("prefix", *prefix)
		}
		if *tags {
			query.Set("tags", "true")
		}
		if *output == "" || *output == "-" {
			return c.backup(query, c.out, false)
		}
		return writeFile(*output, func(w io.Writer) error {
			return c.backup(query, w, strings.HasSuffix(*output, ".gz"))
		})
	})
	return cmd
}

// backup writes all records, and fails if one is missing.
func (c *call) backup(query url.Values, to io.Writer, compress bool) error {
	saved, trailer, err := c.save(query, to, compress)
	if err != nil {
		return err
	}
	return c.checkBackup(trailer, saved)
}

// save writes the lines of the answer, and shows how many there are.
func (c *call) save(query url.Values, to io.Writer, compress bool) (s saved, trailer http.Header, err error) {
	var shown *progress
	if !isTerminal(to) { // there the bar would stand between the records
		shown = c.progress("saving", false)
		defer shown.end()
	}
	path := "backup"
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	resp, err := c.open(c.ctx, http.MethodGet, path, nil)
	if err != nil {
		return s, nil, err
	}
	defer resp.Body.Close()
	finish := func() error { return nil }
	if compress {
		zipped := gzip.NewWriter(to)
		to, finish = zipped, zipped.Close
	}
	if s, err = copyLines(resp.Body, to, shown); err == nil {
		err = finish()
	}
	if err != nil {
		return s, nil, fmt.Errorf("saving records: %w", err)
	}
	return s, resp.Trailer, nil
}

// saved is the size of a backup that was written.
type saved struct{ lines, bytes int64 }

func copyLines(from io.Reader, to io.Writer, shown *progress) (s saved, err error) {
	terminal := isTerminal(to)
	reader, writer := bufio.NewReader(from), bufio.NewWriter(to)
	for {
		line, err := reader.ReadBytes('\n')
		if len(line) > 0 {
			s.lines++
			s.bytes += int64(len(line))
		}
		if terminal {
			line = printableJSON(line)
		}
		if _, err := writer.Write(line); err != nil {
			return s, err
		}
		if errors.Is(err, io.EOF) {
			return s, writer.Flush()
		}
		if err != nil {
			return s, err
		}
		shown.at(s.lines, -1)
	}
}

// checkBackup compares the number of lines that were received with the numbers in the
// trailer of the answer. An answer without the trailer is incomplete.
func (c *call) checkBackup(trailer http.Header, written saved) error {
	var sent [3]int64
	for i, field := range []string{"X-Keys", "X-Tags", "X-Skipped"} {
		n, err := strconv.ParseInt(trailer.Get(field), 10, 64)
		if err != nil {
			return errors.New("saving records: the backup is not complete: the connection ended early")
		}
		sent[i] = n
	}
	keys, tags, skipped := sent[0], sent[1], sent[2]
	if written.lines != keys+tags {
		return fmt.Errorf("saving records: the backup is not complete: %s received of %s", many(written.lines, "line"), count(keys+tags))
	}
	if skipped > 0 {
		fmt.Fprintf(c.err, "left out, because they are not records: %s\n", many(skipped, "value"))
	}
	line := "saved " + many(keys, "record")
	if tags > 0 {
		line += fmt.Sprintf(" and %s of a tag to a key", many(tags, "link"))
	}
	fmt.Fprintf(c.err, "%s, %s\n", line, size(written.bytes))
	return nil
}
