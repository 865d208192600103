// Completions that the shell offers when Tab is pressed.

package command

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
)

// completeTimeout is how long a shell waits at most for completions.
const completeTimeout = 2 * time.Second

// completeKeys offers keys of the running Caddy that begin as the word does.
func completeKeys(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if word == "" {
		// a list of all keys would not help
		return completePrefixes(cmd, args, word)
	}
	var answer wire.KeyList
	askToComplete(cmd, "keys?"+url.Values{"prefix": {word}}.Encode(), &answer)
	keys := slices.DeleteFunc(answer.Keys, func(key string) bool {
		return !harmless(key) || slices.Contains(args, key)
	})
	if len(keys) == 0 {
		return completePrefixes(cmd, args, word)
	}
	return keys, cobra.ShellCompDirectiveNoFileComp
}

// harmless reports whether a word has no meaning to a shell. Caddy's script for
// bash expands completions as if they had been typed, and keys contain client
// input.
func harmless(word string) bool {
	return word != "" && strings.Trim(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:._/@%+,=-") == ""
}

// completePrefixes offers what the default keys of the families begin with.
func completePrefixes(_ *cobra.Command, _ []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var prefixes []cobra.Completion
	for _, family := range cache.Families() {
		prefix, _, _ := strings.Cut(family.KeyTemplate, cache.IDPlaceholder)
		if strings.HasPrefix(prefix, word) {
			prefixes = append(prefixes, cobra.CompletionWithDesc(prefix, family.Name))
		}
	}
	return prefixes, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// upTo offers nothing once there are n arguments.
func upTo(n int, complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, word)
	}
}

// askToComplete reads what completions are made of. Without an answer of Caddy, there
// are no completions: the command itself reports the error.
func askToComplete(cmd *cobra.Command, path string, answer any) {
	c, err := newClient(cmd.Flags())
	if err != nil {
		return
	}
	defer c.close()
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	if body, err := c.ask(ctx, http.MethodGet, path, nil); err == nil {
		_ = json.Unmarshal(body, answer)
	}
}
