package command

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

func restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore <file>|-",
		Short: "Restores the records of a backup",
		Long: `Restores the records of a backup that have not expired meanwhile. It asks first.
Records that exist are kept, unless --overwrite is given. A file whose name ends in
.gz is decompressed. A line that cannot be restored is reported by its number, and
the others are restored.`,
		Example:           "  $ caddy filewallball restore cache.ndjson.gz",
		Args:              wants(cobra.ExactArgs(1), "one file, or - for standard input"),
		ValidArgsFunction: upTo(1, completeFiles),
	}
	asJSON := jsonFlag(cmd)
	overwrite := cmd.Flags().Bool("overwrite", false, "Replace records that exist")
	yes := yesFlag(cmd)
	cmd.RunE = running(func(c *call, args []string) error {
		return c.restoreFile(args[0], *overwrite, *yes, *asJSON)
	})
	return cmd
}

func (c *call) restoreFile(name string, overwrite, yes, asJSON bool) error {
	from, total := c.in, int64(-1)
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("reading the backup: %w", err)
		}
		defer file.Close()
		switch info, err := file.Stat(); {
		case err != nil:
		case info.IsDir():
			return usageError{fmt.Errorf("%s is a directory: want the file of a backup", name)}
		case info.Mode().IsRegular():
			total = info.Size()
		}
		from = file
	} else if !yes {
		return usageError{errors.New("standard input is the backup, so the question cannot be asked: pass --yes")}
	}
	question := fmt.Sprintf("This writes the records of %s into the cache of the Caddy at %s", printable(name), printable(c.address))
	if overwrite {
		question += ", and replaces those that exist"
	}
	if err := c.confirm(yes, question+"."); err != nil {
		return err
	}

	counted := &readCounter{r: from, total: total}
	if !asJSON {
		counted.shown = c.progress("restoring", true)
	}
	var body io.Reader = counted
	if strings.HasSuffix(name, ".gz") {
		unzipped, err := gzip.NewReader(counted)
		if err != nil {
			return fmt.Errorf("reading the backup: %w", err)
		}
		body = unzipped
	}
	path := "restore"
	if overwrite {
		path += "?overwrite=true"
	}
	resp, err := c.send(c.ctx, http.MethodPost, path, backupReader{body})
	counted.end()
	var unread *unreadError
	if errors.As(err, &unread) {
		return fmt.Errorf("%w; the records before it are restored, and the restore can be run again", unread)
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	return c.showRestoreReport(resp, name, asJSON)
}

// backupReader distinguishes errors of the backup from those of the connection
// that it is sent over. It hides Close: the file is closed by the command.
type backupReader struct{ r io.Reader }

func (b backupReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		err = &unreadError{err}
	}
	return n, err
}

// unreadError is the error of a backup that cannot be read to its end.
type unreadError struct{ err error }

func (e *unreadError) Error() string {
	if errors.Is(e.err, io.ErrUnexpectedEOF) {
		return "reading the backup: it is cut short (unexpected EOF)"
	}
	return "reading the backup: " + e.err.Error()
}

func (e *unreadError) Unwrap() error { return e.err }

func (c *call) showRestoreReport(resp *http.Response, name string, asJSON bool) error {
	answer, err := readAnswer(c.ctx, resp)
	if err != nil {
		return err
	}
	var r wire.RestoreReport
	if err := json.Unmarshal(answer, &r); err != nil || r.Errors == nil {
		return c.apiError(resp, answer)
	}
	switch {
	case asJSON:
		err = c.writeJSON(answer)
	case !isNoBackup(&r):
		err = c.writeRestoreReport(&r)
	}
	switch {
	case err != nil:
		return err
	case isNoBackup(&r):
		return fmt.Errorf("%s is not a backup of this cache: none of its lines can be restored (line %d: %s)",
			nameOf(name), r.Errors[0].Line, r.Errors[0].Error)
	case r.Error != "":
		return errors.New(r.Error)
	case r.Failed > 0:
		return fmt.Errorf("%s could not be restored", many(r.Failed, "line"))
	}
	return nil
}

// isNoBackup reports whether no line of a file could be restored. It is not a backup
// then, and one error is printed instead of one for each line.
func isNoBackup(r *wire.RestoreReport) bool {
	return r.Error == "" && r.Failed > 0 && len(r.Errors) > 0 && r.Restored+r.Kept+r.Expired+r.Tags == 0
}

// nameOf names a file in an error.
func nameOf(file string) string {
	if file == "-" {
		return "standard input"
	}
	return file
}

func (c *call) writeRestoreReport(r *wire.RestoreReport) error {
	for _, bad := range r.Errors {
		fmt.Fprintf(c.err, "line %d: %s\n", bad.Line, printable(bad.Error))
	}
	if more := r.Failed - len(r.Errors); more > 0 {
		fmt.Fprintf(c.err, "and %s more\n", count(more))
	}
	line := fmt.Sprintf("restored %s: kept %s that existed, left out %s that have expired, %s failed",
		many(r.Restored, "record"), count(r.Kept), count(r.Expired), count(r.Failed))
	if r.Tags > 0 {
		line += fmt.Sprintf("; %s of a tag to a key", many(r.Tags, "link"))
	}
	_, err := fmt.Fprintln(c.out, line)
	return err
}

func completeFiles(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}
