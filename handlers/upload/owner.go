// The owner of an upload, who alone may read its report.

package upload

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/template"
)

// newOwner prepares the template of an owner. It refuses one that is the same, or empty,
// for all requests: every client would own the uploads of every other one.
func newOwner(ctx caddy.Context, owner string) (lookup.IdentityReader, error) {
	if owner == "" {
		return lookup.NewIdentityReader(nil, false), nil
	}
	names, err := template.Placeholders(owner)
	if err == nil && !slices.ContainsFunc(names, template.IsOfRequest) {
		err = errors.New("it is the same for every client: want a placeholder that differs, like {http.session.user_id}")
	}
	if err == nil {
		err = template.CheckFilled(owner)
	}
	if err != nil {
		return lookup.IdentityReader{}, fmt.Errorf("owner '%s': %w", owner, err)
	}
	if err := lookup.CheckClaims(ctx, "owner", owner); err != nil {
		return lookup.IdentityReader{}, err
	}
	return lookup.NewIdentityReader(lookup.Identity{owner}, false).On(ctx), template.Check(ctx.Logger(), "owner", owner)
}

// ownerOf returns the owner of a request, "" if it has none. The error wraps
// [cache.ErrMalformedIdentity].
func ownerOf(owner lookup.IdentityReader, r *http.Request, repl *caddy.Replacer) (string, error) {
	id := owner.Of(r, repl)
	return id.ID, owner.Check(id)
}
