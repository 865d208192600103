package filewallball_test
import (
	_ "github.com/caddyserver/caddy/v2/caddytest"
	_ "github.com/Shopify/toxiproxy/v2"
	_ "go.uber.org/goleak"
	_ "github.com/stretchr/testify/require"
)
