package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

// keysPage is how many keys are read at once, the largest limit of the admin API.
const keysPage = 1000

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys [--prefix <prefix>] [--limit <n>]",
		Short: "Lists keys of records, one a line",
		Long: `Lists the keys of records under key_prefix, or under a longer prefix, one a line
in no order. With Redis a key that is written meanwhile may be listed or not. On a
terminal, control characters are escaped.`,
		Example: "  $ caddy filewallball keys --prefix session:user: --limit 20",
		Args:    wants(cobra.NoArgs, "no arguments: the prefix is --prefix <prefix>"),
	}
	asJSON := jsonFlag(cmd)
	prefix := cmd.Flags().String("prefix", "", "List only keys that begin with this, key_prefix included")
	limit := cmd.Flags().Int("limit", 100, "The most that are listed; 0 is no limit")
	_ = cmd.RegisterFlagCompletionFunc("prefix", completePrefixes)
	_ = cmd.RegisterFlagCompletionFunc("limit", cobra.NoFileCompletions)
	cmd.RunE = running(func(c *call, _ []string) error {
		if *limit < 0 {
			return usageError{errors.New("--limit is negative: want a number, or 0 for no limit")}
		}
		if err := checkUTF8(*prefix); err != nil {
			return err
		}
		return c.keys(*prefix, *limit, *asJSON)
	})
	return cmd
}

// keys lists keys page by page. With Redis, a key may be on two pages.
func (c *call) keys(prefix string, limit int, asJSON bool) error {
	listed := make(map[string]bool)
	for cursor := ""; ; {
		page := keysPage
		if limit > 0 {
			page = min(page, limit-len(listed))
		}
		found, err := c.keyPage(prefix, cursor, page)
		if err != nil {
			return err
		}
		for _, key := range found.Keys {
			if listed[key] {
				continue
			}
			listed[key] = true
			if err := c.writeKey(key, asJSON); err != nil {
				return err
			}
			if len(listed) == limit {
				return nil
			}
		}
		if cursor = found.Cursor; cursor == "" {
			return nil
		}
	}
}

// keyPage returns up to limit keys and the cursor of the next page.
func (c *call) keyPage(prefix, cursor string, limit int) (page wire.KeyList, err error) {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if prefix != "" {
		query.Set("prefix", prefix)
	}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	answer, err := c.ask(c.ctx, http.MethodGet, "keys?"+query.Encode(), nil)
	if err != nil {
		return page, err
	}
	if err := json.Unmarshal(answer, &page); err != nil {
		return page, fmt.Errorf("reading the answer: %w", err)
	}
	return page, nil
}

// writeKey writes a key, as a JSON string where that is wanted. No key has a line
// break in it.
func (c *call) writeKey(key string, asJSON bool) error {
	if asJSON {
		text, err := json.Marshal(key)
		if err != nil {
			return err
		}
		return c.writeJSON(append(text, '\n'))
	}
	if isTerminal(c.out) {
		key = printable(key)
	}
	_, err := fmt.Fprintln(c.out, key)
	return err
}
