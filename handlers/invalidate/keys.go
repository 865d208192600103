// Which keys and tags can be invalidated.

package invalidate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// sessionKey stands for the key of the request's session.
const sessionKey = "{session}"

// provisionTemplates parses the keys and tags. It refuses those that no record can have,
// because the records that were meant would stay in use.
func (h *Handler) provisionTemplates(ctx caddy.Context, policy *lookup.Policy) error {
	logger := ctx.Logger()
	for _, text := range h.Keys {
		if err := checkKey(logger, policy, text); err != nil {
			return fmt.Errorf("key '%s': %w", text, err)
		}
		if text == sessionKey {
			h.session = true
			continue
		}
		key, err := newWritten(ctx, text)
		if err != nil {
			return fmt.Errorf("key '%s': %w", text, err)
		}
		if err := lookup.CheckClaims(ctx, "key", text); err != nil {
			return err
		}
		h.keys = append(h.keys, key)
	}
	for _, text := range h.Tags {
		if err := checkTag(logger, text); err != nil {
			return fmt.Errorf("tag '%s': %w", text, err)
		}
		tag, err := newWritten(ctx, text)
		if err != nil {
			return fmt.Errorf("tag '%s': %w", text, err)
		}
		if err := lookup.CheckClaims(ctx, "tag", text); err != nil {
			return err
		}
		h.tags = append(h.tags, tag)
	}
	return nil
}

// checkKey refuses a key that no record can have, and one with which a client could drop
// any key.
func checkKey(logger *zap.Logger, policy *lookup.Policy, text string) error {
	if text == sessionKey {
		return nil
	}
	names, err := template.Placeholders(text)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == "session" {
			return errors.New("{session} is a whole key: write nothing around it")
		}
		if kind, _, _ := strings.Cut(name, "."); kind == "id" {
			return fmt.Errorf("{%s} has no value here: want {session}, the key of the request's session, or the placeholder of the identity, like session:user:{http.request.cookie.session}", name)
		}
	}
	if err := template.Check(logger, "key", text); err != nil {
		return err
	}
	if err := template.CheckFilled(text); err != nil {
		return err
	}
	before, _, _ := strings.Cut(text, "{")
	switch {
	case text == "":
		return errors.New("it is empty")
	case policy.KeyPrefix == "" && strings.HasPrefix(text, "{"):
		return errors.New("it has no text before the placeholder, so a client could drop any key of the store: write one like session:user:{http.request.cookie.session}")
	case policy.IsOwn(policy.KeyPrefix + before):
		return fmt.Errorf("it begins with %s, which is for the plugin's own keys", cache.OwnPrefix)
	}
	return nil
}

// checkTag refuses a tag that no record can have.
func checkTag(logger *zap.Logger, text string) error {
	if text == "" {
		return errors.New("it is empty")
	}
	names, err := template.Placeholders(text)
	if err != nil {
		return err
	}
	for _, name := range names {
		switch name {
		case "id", lookup.SessionPrefix + "id", lookup.MetadataPrefix + "id":
			return fmt.Errorf("{%s} has no value here, only in the tags of a lookup: want the key {session} for the session of the request, or a field of the record", name)
		}
	}
	if err := template.Check(logger, "tag", text); err != nil {
		return err
	}
	return template.CheckFilled(text)
}
