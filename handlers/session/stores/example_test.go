package stores_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
	"github.com/filewallball/caddy-filewallball/handlers/session/stores"
)

// Shop is how the shop keeps its sessions: from shop. Its module calls
// caddy.RegisterModule(Shop{}) in an init function.
type Shop struct {
	stores.Settings
}

func (Shop) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: stores.Namespace + ".shop", New: func() caddy.Module { return new(Shop) }}
}

func (s *Shop) Provision(caddy.Context) error {
	return s.Settings.Provision(stores.Defaults{Cookie: "shop", Key: "shop:{id}"})
}

func (s *Shop) UnmarshalCaddyfile(d *caddyfile.Dispenser) error { return s.Unmarshal(d, nil) }

// Identities finds the ids in cookies of the form v1-<id>.
func (s *Shop) Identities(r *http.Request) (ids []string) {
	for _, value := range s.Cookies(r) {
		if id, ok := strings.CutPrefix(value, "v1-"); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// Decode reads a session, which is the customer's number.
func (s *Shop) Decode(raw cache.Raw) (stores.Session, error) {
	var number int
	if _, err := fmt.Sscanf(raw.Text, "customer %d", &number); err != nil {
		return stores.Session{}, errors.New("value is not the number of a customer")
	}
	return stores.Session{JSON: fmt.Sprintf(`{"user_id":%d}`, number)}, nil
}

var _ stores.Store = (*Shop)(nil)

// A store of another module.
func Example() {
	shop := new(Shop)
	if err := shop.Provision(caddy.Context{}); err != nil {
		fmt.Println(err)
	}
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	r.AddCookie(&http.Cookie{Name: "shop", Value: "v1-abc"})
	fmt.Println(shop.KeyTemplate(), shop.Identities(r))
	session, err := shop.Decode(cache.Raw{Text: "customer 7"})
	fmt.Println(session.JSON, err)
	// Output:
	// shop:{id} [abc]
	// {"user_id":7} <nil>
}
