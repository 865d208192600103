package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

func purgeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "purge <key>... | --prefix <prefix> | --tag <tag>",
		Short: "Drops many records on every node",
		Long: `Drops records on every node: those under these keys, those whose keys begin with
a prefix, or those with a tag. It prints the number of records that were dropped;
with --tag it prints the number of tags, because a tag is dropped in one step,
without counting its records. It asks before it drops a prefix.`,
		Example: `  $ caddy filewallball purge --tag user:42
  $ caddy filewallball purge --prefix file:meta: --yes`,
		Args:              wants(cobra.ArbitraryArgs, ""),
		ValidArgsFunction: completeKeys,
	}
	asJSON := jsonFlag(cmd)
	prefix := cmd.Flags().String("prefix", "", "Drop every record whose key begins with this, key_prefix included")
	tag := cmd.Flags().String("tag", "", "Drop every record with this tag")
	yes := yesFlag(cmd)
	_ = cmd.RegisterFlagCompletionFunc("prefix", completePrefixes)
	_ = cmd.RegisterFlagCompletionFunc("tag", cobra.NoFileCompletions)
	cmd.RunE = running(func(c *call, keys []string) error {
		what, err := newPurgeRequest(keys, *prefix, *tag)
		if err != nil {
			return err
		}
		if *prefix != "" {
			question := fmt.Sprintf("This drops every record whose key begins with %q, on every node.", printable(*prefix))
			if err := c.confirm(*yes, question); err != nil {
				return err
			}
		}
		return c.purge(what, *asJSON)
	})
	return cmd
}

func yesFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().BoolP("yes", "y", false, "Do not ask whether to go on")
}

// newPurgeRequest returns an error unless the command line names one thing to
// purge.
func newPurgeRequest(keys []string, prefix, tag string) (wire.PurgeRequest, error) {
	named := 0
	for _, is := range []bool{len(keys) > 0, prefix != "", tag != ""} {
		if is {
			named++
		}
	}
	if named != 1 {
		return wire.PurgeRequest{}, usageError{errors.New("want keys, --prefix or --tag, one of them and not empty")}
	}
	what := wire.PurgeRequest{Prefix: prefix, Tag: tag}
	if len(keys) > 0 {
		what.Keys = keys
	}
	return what, checkUTF8(append([]string{prefix, tag}, keys...)...)
}

// checkUTF8 refuses texts that JSON cannot say: they would be sent as others.
func checkUTF8(texts ...string) error {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return usageError{fmt.Errorf("%q is not UTF-8 text", text)}
		}
	}
	return nil
}

func (c *call) purge(what wire.PurgeRequest, asJSON bool) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	answer, err := c.askLong(c.ctx, http.MethodPost, "purge", body)
	if err != nil {
		return err
	}
	if asJSON {
		return c.writeJSON(answer)
	}
	var result wire.PurgeReport
	if err := json.Unmarshal(answer, &result); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	unit := "record"
	if what.Tag != "" {
		unit = "tag"
	}
	_, err = fmt.Fprintln(c.out, "dropped", many(result.Purged, unit))
	return err
}
