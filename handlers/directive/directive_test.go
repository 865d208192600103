package directive

import (
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/stretchr/testify/require"
)

func TestArguments(t *testing.T) {
	t.Parallel()
	duration := func(d *caddyfile.Dispenser) (any, error) { return Duration(d) }
	size := func(d *caddyfile.Dispenser) (any, error) { return Size(d) }
	onOff := func(d *caddyfile.Dispenser) (any, error) { return OnOff(d) }
	one := func(d *caddyfile.Dispenser) (any, error) { return OneArg(d) }
	color := func(d *caddyfile.Dispenser) (any, error) { return OneOf("red", "blue")(d) }
	positive := func(d *caddyfile.Dispenser) (any, error) { return Count(1)(d) }
	none := func(d *caddyfile.Dispenser) (any, error) { return nil, NoArgs(d) }
	for input, test := range map[string]struct {
		read  func(*caddyfile.Dispenser) (any, error)
		want  any
		fails string
	}{
		"key a":        {one, "a", ""},
		"key":          {one, nil, "key takes one argument, not 0"},
		"key a b":      {one, nil, "key takes one argument, not 2"},
		"sliding":      {none, nil, ""},
		"sliding on":   {none, nil, "sliding takes no argument, but has 'on'"},
		"ttl 1h":       {duration, caddy.Duration(time.Hour), ""},
		"ttl 1d":       {duration, caddy.Duration(24 * time.Hour), ""},
		"ttl 1ms":      {duration, caddy.Duration(time.Millisecond), ""},
		"ttl 1us":      {duration, nil, "ttl: '1us' is not a duration of at least 1ms"},
		"ttl 0":        {duration, nil, "ttl: '0' is not a duration"},
		"ttl -1s":      {duration, nil, "ttl: '-1s' is not a duration"},
		"ttl soon":     {duration, nil, "ttl: 'soon' is not a duration"},
		"max 1MiB":     {size, int64(1 << 20), ""},
		"max 1MB":      {size, int64(1e6), ""},
		"max 0":        {size, nil, "max: '0' is not a size"},
		"max big":      {size, nil, "max: 'big' is not a size"},
		"max 9EB":      {size, nil, "max: '9EB' is not a size"},
		"hash_id":      {onOff, true, ""},
		"hash_id on":   {onOff, true, ""},
		"hash_id off":  {onOff, false, ""},
		"hash_id no":   {onOff, nil, "hash_id takes on or off, not 'no'"},
		"color blue":   {color, "blue", ""},
		"color gray":   {color, nil, "color: 'gray' is not one of red, blue"},
		"color":        {color, nil, "color takes one argument, not 0"},
		"size 12":      {positive, 12, ""},
		"size 0":       {positive, nil, "size: '0' is not a whole number of at least 1"},
		"size many":    {positive, nil, "size: 'many' is not a whole number"},
		"hash_id on x": {onOff, nil, "hash_id takes on or off, not 'on x'"},
	} {
		t.Run(input, func(t *testing.T) {
			t.Parallel()
			d := caddyfile.NewTestDispenser(input)
			d.Next()
			got, err := test.read(d)
			if test.fails != "" {
				require.ErrorContains(t, err, test.fails)
				require.ErrorContains(t, err, "Testfile:1")
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.want, got)
		})
	}
}
