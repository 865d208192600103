// The commands of single records: get, set, delete.

package command

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

func getCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get <key>",
		Short: "Shows a record and how long it has left",
		Long: `Shows the record under a key: laid out on a terminal, or else to the byte as it
is stored. How long it has left is told on standard error.`,
		Example:           "  $ caddy filewallball get session:user:42",
		Args:              wants(cobra.ExactArgs(1), "one key, like session:user:42"),
		ValidArgsFunction: upTo(1, completeKeys),
	}
	asJSON := jsonFlag(cmd)
	cmd.RunE = running(func(c *call, args []string) error {
		if err := checkUTF8(args...); err != nil {
			return err
		}
		return c.get(args[0], *asJSON)
	})
	return cmd
}

func (c *call) get(key string, asJSON bool) error {
	body, err := json.Marshal(wire.RecordRequest{Key: key})
	if err != nil {
		return err
	}
	answer, err := c.ask(c.ctx, http.MethodPost, "get", body)
	if hasStatus(err, http.StatusNotFound) {
		return fmt.Errorf("%s: %w", key, err)
	}
	if err != nil {
		return err
	}
	if asJSON {
		return c.writeJSON(answer)
	}
	var entry wire.Record
	if err := json.Unmarshal(answer, &entry); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	value := bytes.NewBuffer(entry.Value)
	if isTerminal(c.out) {
		value = new(bytes.Buffer)
		if err := json.Indent(value, entry.Value, "", "  "); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
	}
	value.WriteByte('\n')
	if err := c.writeJSON(value.Bytes()); err != nil {
		return err
	}
	if entry.TTLSeconds < 0 {
		fmt.Fprintln(c.err, "never expires")
	} else {
		fmt.Fprintln(c.err, "expires in", span(time.Duration(entry.TTLSeconds)*time.Second))
	}
	return nil
}

func setCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set <key> [<json>|-]",
		Short: "Stores a record",
		Long: `Stores a record under a key: a JSON object, or null for "known to be absent",
from the command line or, with - or nothing, from standard input, which keeps it
out of the list of processes.`,
		Example: `  $ caddy filewallball set session:user:42 '{"user_id": 42}' --ttl 1h
  $ caddy filewallball set file:meta:report < report.json`,
		Args:              wants(cobra.RangeArgs(1, 2), "a key and its record, like session:user:42 '{\"user_id\": 42}'"),
		ValidArgsFunction: upTo(1, completeKeys),
	}
	ttl := cmd.Flags().String("ttl", "", "How long it lives, like 90s, 1h or 7d; without it as long as its family's records do")
	_ = cmd.RegisterFlagCompletionFunc("ttl", cobra.NoFileCompletions)
	cmd.RunE = running(func(c *call, args []string) error {
		value := "-"
		if len(args) == 2 {
			value = args[1]
		}
		if err := checkUTF8(args[0]); err != nil {
			return err
		}
		return c.set(args[0], value, *ttl)
	})
	return cmd
}

func (c *call) set(key, value, ttl string) error {
	if ttl != "" {
		if _, err := caddy.ParseDuration(ttl); err != nil {
			return usageError{fmt.Errorf("--ttl %q is not a duration: want one like 90s, 1h or 7d", ttl)}
		}
	}
	record := []byte(value)
	if value == "-" {
		var err error
		if record, err = c.readInput("the record"); err != nil {
			return fmt.Errorf("reading the record: %w", err)
		}
	}
	body, err := setBody(key, ttl, record)
	if err != nil {
		return err
	}
	if _, err := c.ask(c.ctx, http.MethodPost, "set", body); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.out, "stored", printable(key))
	return err
}

// setBody is the body of set, with the record byte for byte: the encoder would
// rewrite it.
func setBody(key, ttl string, record []byte) ([]byte, error) {
	// anything else would end the field early
	if !json.Valid(record) {
		return nil, errors.New("the record is not valid JSON: want a JSON object or null")
	}
	name, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	body := append([]byte(`{"key":`), name...)
	if ttl != "" {
		body = fmt.Appendf(body, `,"ttl":%q`, ttl) // a duration, so it needs no escapes
	}
	body = append(body, `,"value":`...)
	return append(append(body, record...), '}'), nil
}

func deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete <key>...",
		Short: "Drops records on every node",
		Long: `Drops the records under these keys on every node. It is no failure where there
was none; purge tells how many there were.`,
		Example:           "  $ caddy filewallball delete session:user:42",
		Args:              wants(cobra.MinimumNArgs(1), "one key or more"),
		ValidArgsFunction: completeKeys,
		RunE: running(func(c *call, args []string) error {
			if err := checkUTF8(args...); err != nil {
				return err
			}
			return c.delete(args)
		}),
	}
}

// delete tries all keys, whatever becomes of the first.
func (c *call) delete(keys []string) error {
	failed := 0
	for _, key := range keys {
		body, err := json.Marshal(wire.RecordRequest{Key: key})
		if err == nil {
			_, err = c.ask(c.ctx, http.MethodPost, "delete", body)
		}
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if err != nil {
			failed++
			fmt.Fprintf(c.err, "%s: %s\n", printable(key), printable(err.Error()))
			continue
		}
		fmt.Fprintln(c.out, "dropped", printable(key))
	}
	if failed > 0 {
		return fmt.Errorf("dropping records: %d of %d failed", failed, len(keys))
	}
	return nil
}
