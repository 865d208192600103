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

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

func getCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get <key> | --hash <identity> --route <route>",
		Short: "Shows a record and how long it has left",
		Long: `Shows the record under a key, or of an identity: indented on a terminal, otherwise
byte for byte as it is stored. A session that an application stored in its own format
is shown as its lookup reads it. The time that it has left is written to standard error.
` + hashHelp,
		Example: `  $ caddy filewallball get session:user:42
  $ caddy filewallball get --hash 's3cr3t' --route door`,
		Args:              wants(cobra.MaximumNArgs(1), wantsGet),
		ValidArgsFunction: upTo(1, completeKeys),
	}
	asJSON := jsonFlag(cmd)
	identity := identityFlags(cmd)
	cmd.RunE = running(func(c *call, args []string) error {
		if identityUsed(cmd) == (len(args) == 1) {
			return usageError{errors.New("want " + wantsGet)}
		}
		if err := checkUTF8(args...); err != nil {
			return err
		}
		what := wire.RecordRequest{}
		if len(args) == 1 {
			what.Key = args[0]
		} else if err := c.identify(identity, &what); err != nil {
			return err
		}
		return c.get(what, *asJSON)
	})
	return cmd
}

const wantsGet = "one key, like session:user:42, or --hash <identity> --route <route>"

// named is how errors and answers name a record: never by its identity.
func named(r *wire.RecordRequest) string {
	if r.Route != "" {
		return "the record of this identity in " + printable(r.Route)
	}
	return printable(r.Key)
}

func (c *call) get(what wire.RecordRequest, asJSON bool) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	answer, err := c.ask(c.ctx, http.MethodPost, "get", body)
	if hasStatus(err, http.StatusNotFound) {
		return fmt.Errorf("%s: %w", named(&what), err)
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
out of the list of processes. A key of no family, like one of your own, needs --ttl.`,
		Example: `  $ caddy filewallball set session:user:42 '{"user_id": 42}' --ttl 1h
  $ caddy filewallball set file:meta:report < report.json`,
		Args:              wants(cobra.RangeArgs(1, 2), "a key and its record, like session:user:42 '{\"user_id\": 42}'"),
		ValidArgsFunction: upTo(1, completeKeys),
	}
	ttl := cmd.Flags().String("ttl", "", "How long the record lives, like 90s, 1h or 7d; default: the TTL of its family")
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
		if d, err := caddy.ParseDuration(ttl); err != nil || d < cache.MinTTL {
			return usageError{fmt.Errorf("--ttl %q is not right: want a duration of at least %s, like 90s, 1h or 7d", ttl, cache.MinTTL)}
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
	_, err = c.ask(c.ctx, http.MethodPost, "set", body)
	if err != nil && err.Error() == wire.NoFamily {
		return errors.New("key is of no family, so it needs --ttl, like --ttl 1h")
	}
	if err != nil {
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
	cmd := &cobra.Command{
		Use:   "delete <key>... | --hash <identity> --route <route>",
		Short: "Drops records on every node",
		Long: `Drops the records under these keys, or of an identity, on every node. A record that
does not exist is no error; purge prints how many there were.
` + hashHelp,
		Example: `  $ caddy filewallball delete session:user:42
  $ caddy filewallball delete --hash - --route door < cookie.txt`,
		Args:              wants(cobra.ArbitraryArgs, wantsDelete),
		ValidArgsFunction: completeKeys,
	}
	identity := identityFlags(cmd)
	cmd.RunE = running(func(c *call, args []string) error {
		if identityUsed(cmd) == (len(args) > 0) {
			return usageError{errors.New("want " + wantsDelete)}
		}
		if err := checkUTF8(args...); err != nil {
			return err
		}
		var records []wire.RecordRequest
		for _, key := range args {
			records = append(records, wire.RecordRequest{Key: key})
		}
		if len(args) == 0 {
			what := wire.RecordRequest{}
			if err := c.identify(identity, &what); err != nil {
				return err
			}
			records = append(records, what)
		}
		return c.delete(records)
	})
	return cmd
}

const wantsDelete = "one key or more, or --hash <identity> --route <route>"

// delete drops each record, also after another one failed.
func (c *call) delete(records []wire.RecordRequest) error {
	failed := 0
	for _, what := range records {
		body, err := json.Marshal(what)
		if err == nil {
			_, err = c.ask(c.ctx, http.MethodPost, "delete", body)
		}
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if err != nil {
			failed++
			fmt.Fprintf(c.err, "%s: %s\n", named(&what), printable(err.Error()))
			continue
		}
		fmt.Fprintln(c.out, "dropped", named(&what))
	}
	if failed > 0 {
		return fmt.Errorf("dropping records: %d of %d failed", failed, len(records))
	}
	return nil
}
