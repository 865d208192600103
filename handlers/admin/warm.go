package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"

	"github.com/filewallball/caddy-filewallball/handlers/admin/wire"
	"github.com/filewallball/caddy-filewallball/handlers/lookup"
	"github.com/filewallball/caddy-filewallball/handlers/source"
)

const (
	maxWarmBody            = 64 << 20
	defaultWarmConcurrency = 4
	// progressInterval is the time between two lines of progress.
	progressInterval = time.Second
)

// warm loads the records of a route that the store lacks, as lookups do, and
// streams its progress: see [wire.WarmProgress]. It ends when the client leaves
// and when the configuration is replaced.
func warm(w http.ResponseWriter, r *http.Request, app lookup.App) error {
	r.Body = patientBody(w, r)
	body, err := readBody(r, maxWarmBody)
	if err != nil {
		return err
	}
	what, err := whatToWarm(body)
	if err != nil {
		return err
	}
	lookups := app.Lookups().Named(what.Route)
	if len(lookups) == 0 {
		return unknownRoute(app.Lookups().Names())
	}
	repl := siteReplacer(what.Root, what.FS)
	for _, l := range lookups {
		if err := warmable(l, repl, what.IDs == nil); err != nil {
			return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: errors.New("route cannot be warmed"), Message: err.Error()}
		}
	}
	if err := ping(r, app); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(app.Context(), func() { cancel(errReplaced) })()
	answer := startLines(w)
	u := newWarmUp(what, lookups, repl, cancel)
	done := u.start(ctx)
	for ticker := time.NewTicker(progressInterval); ; {
		select {
		case <-done:
			ticker.Stop()
			_ = answer.send(u.result(context.Cause(ctx)))
			return nil
		case <-ticker.C:
			if err := answer.send(u.progress()); err != nil {
				cancel(err)
			}
		}
	}
}

const warmWants = `want {"route": "<name>", "ids": ["…"]}, and optionally concurrency, rate, root and fs`

// whatToWarm reads the body of a warm-up.
func whatToWarm(body []byte) (what wire.WarmRequest, err error) {
	// the decoder would replace invalid UTF-8, which would make other identities
	if !utf8.Valid(body) || decodeStrictly(body, &what) != nil {
		return wire.WarmRequest{}, refuse(http.StatusBadRequest, "body is not a JSON object with the right fields: "+warmWants)
	}
	switch {
	case what.Route == "":
		err = refuse(http.StatusBadRequest, "route is missing: "+warmWants)
	default:
		what.Concurrency = cmp.Or(what.Concurrency, defaultWarmConcurrency)
		err = badRequest(cmp.Or(wire.CheckConcurrency(what.Concurrency), checkRate(what.Rate)))
	}
	return what, err
}

// checkRate takes 0 for no limit.
func checkRate(rate float64) error {
	if rate == 0 {
		return nil
	}
	return wire.CheckRate(rate)
}

// unknownRoute names the routes to the client, but not to the log.
func unknownRoute(names []string) error {
	message := "there is no such route: no route has a lookup"
	if len(names) > 0 {
		message = "there is no such route: want one of " + strings.Join(names, ", ")
	}
	return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: errors.New("there is no such route"), Message: message}
}

// warmable returns an error if the records of a lookup cannot be loaded without a
// request. With list, its source must list its identities.
func warmable(l *lookup.Lookup, repl *caddy.Replacer, list bool) error {
	if l.Source() == nil {
		return errors.New("the route has no source to load records from: your application writes them")
	}
	if l.KeyVaries() {
		return errKeyVaries
	}
	lister, ok := l.Source().(source.Lister)
	if list && !ok {
		return fmt.Errorf("source %s cannot list its identities: want ids", l.Source().Name())
	}
	if ok {
		return lister.CanList(repl)
	}
	return nil
}
