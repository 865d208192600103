package source_test

import (
	"context"
	"fmt"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/filewallball/caddy-filewallball/cache"
)

// Staff is a source of another module: who works here, by the number on the badge.
//
//	session_lookup {header.Badge} {
//		source staff {
//			member <badge> <name>
//		}
//	}
//
// Its module calls caddy.RegisterModule(Staff{}) in an init function. Records from
// it bear a fingerprint of its JSON, so that no record outlives a change of it.
type Staff struct {
	// Names by badge.
	Members map[string]string `json:"members,omitempty"`
}

func (Staff) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "filewallball.sources.staff", New: func() caddy.Module { return new(Staff) }}
}

// UnmarshalCaddyfile reads the block of the source.
func (s *Staff) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // staff
	s.Members = make(map[string]string)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		var badge, name string
		if d.Val() != "member" || !d.Args(&badge, &name) || d.NextArg() {
			return d.Err("staff takes lines of the form: member <badge> <name>")
		}
		s.Members[badge] = name
	}
	return nil
}

// Name is the kind of source in statistics.
func (*Staff) Name() string { return "staff" }

// Load answers a lookup that no cache could answer. It may use nothing of a
// request but what is in req, since its answer is shared by all that have the key.
func (s *Staff) Load(_ context.Context, req cache.Request, _ *cache.Record) (cache.Loaded, error) {
	name, ok := s.Members[req.ID]
	if !ok {
		return cache.Loaded{Record: cache.AbsentRecord()}, nil
	}
	record, err := cache.Decode(fmt.Sprintf(`{"user_id":%q}`, name), cache.DefaultMaxValueSize)
	return cache.Loaded{Record: record}, err
}

var (
	_ cache.Source          = (*Staff)(nil)
	_ caddyfile.Unmarshaler = (*Staff)(nil)
)

// A source of another module.
func Example() {
	staff := new(Staff)
	if err := staff.UnmarshalCaddyfile(caddyfile.NewTestDispenser("staff {\nmember 7 ada\n}")); err != nil {
		fmt.Println(err)
	}
	for _, badge := range []string{"7", "8"} {
		loaded, err := staff.Load(context.Background(), cache.Request{ID: badge}, nil)
		fmt.Println(badge, loaded.Record.State() == cache.Found, loaded.Record.Text(), err)
	}
	// Output:
	// 7 true {"user_id":"ada"} <nil>
	// 8 false null <nil>
}
