// Names of routes that the Caddyfile does not name.

package lookup

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
)

// namedRoute stands for the site in the names of routes in named routes, which
// belong to no site.
const namedRoute = "named_route"

// PositionName returns the default name of a route: its directive, site and line, like
// session_lookup@example.com:12, so that statistics and metrics name the line. Further
// routes of the same line, as of a snippet that a site imports twice, get a number. The
// name stays the same from one load to the next while the line does not move.
func PositionName(h httpcaddyfile.Helper, directive string) string {
	site := siteOf(h)
	if h.IsNamedRoute() {
		site = namedRoute
	}
	h.Reset()
	h.Next()
	name := directive
	if site != "" {
		name += "@" + site
	}
	name = fmt.Sprintf("%s:%d", name, h.Line())
	counter := AppID + ".routes." + name
	n, _ := h.State[counter].(int)
	h.State[counter] = n + 1
	if n > 0 {
		name += "-" + strconv.Itoa(n+1)
	}
	return name
}

// siteOf returns the first address of the site that a directive is in, without its
// scheme, or "" if there is none. It needs reflection, because Caddy does not export the
// field; a test fails if the field changes.
func siteOf(h httpcaddyfile.Helper) string {
	block := reflect.ValueOf(h).FieldByName("parentBlock")
	if !block.IsValid() || block.Kind() != reflect.Struct {
		return ""
	}
	keys := block.FieldByName("Keys")
	if !keys.IsValid() || keys.Kind() != reflect.Slice || keys.Len() == 0 || keys.Index(0).Kind() != reflect.Struct {
		return ""
	}
	text := keys.Index(0).FieldByName("Text")
	if !text.IsValid() || text.Kind() != reflect.String {
		return ""
	}
	address := text.String()
	if _, rest, ok := strings.Cut(address, "://"); ok {
		address = rest
	}
	return strings.TrimSuffix(address, "/")
}
