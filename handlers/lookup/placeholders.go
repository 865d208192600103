// Which placeholders the templates of lookups may have.

package lookup

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// CheckIdentityTemplate is [template.Check] for a part of an identity, which must
// have a placeholder.
func CheckIdentityTemplate(logger *zap.Logger, text string) error {
	names, err := template.Placeholders(text)
	if err == nil && len(names) == 0 {
		err = errors.New("it has no placeholder, so every request would have this identity: write one like {http.request.cookie.session}")
		if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == "" {
			err = fmt.Errorf("it has no placeholder, so every request would have this identity: write {cookie.%s} for a cookie, {header.%s} for a header", text, text)
		}
	}
	if err == nil && !slices.ContainsFunc(names, template.IsOfRequest) {
		err = errors.New("it is the same for every client: write one like {http.request.cookie.session}")
	}
	if err != nil {
		return fmt.Errorf("identity '%s': %w", text, err)
	}
	return template.Check(logger, "identity", text)
}

// checkTemplates checks the templates that the lookups share.
func (l *Lookup) checkTemplates(ctx caddy.Context) error {
	logger := ctx.Logger()
	if len(l.ID) > maxIdentityParts {
		return fmt.Errorf("the identity has %d parts: want at most %d", len(l.ID), maxIdentityParts)
	}
	for _, part := range l.ID {
		check := template.Check(logger, "identity", part)
		if l.kind.FromRequest {
			check = CheckIdentityTemplate(logger, part)
		}
		if check != nil {
			return check
		}
		if err := template.CheckFilled(part); err != nil {
			return fmt.Errorf("identity '%s': %w", part, err)
		}
		if err := CheckClaims(ctx, "identity", part); err != nil {
			return err
		}
	}
	own := []string{"id", "source"}
	for i := range l.ID {
		own = append(own, fmt.Sprintf("id.%d", i+1))
	}
	if err := template.Check(logger, "key", l.keyText, own...); err != nil {
		return err
	}
	if err := CheckClaims(ctx, "key", l.keyText); err != nil {
		return err
	}
	for _, r := range []*Reaction{l.OnMissing, l.OnDenied, l.OnError} {
		if r == nil || r.Redirect == "" {
			continue
		}
		if err := CheckRedirect(logger, r.Redirect); err != nil {
			return err
		}
	}
	return nil
}
