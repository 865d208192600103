// Blocks of forward_auth as people write them load with one word changed, or say
// what to write.

package sitetest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBlocksOfForwardAuthLoadWithOneWordChanged(t *testing.T) {
	t.Setenv("AUTH_SERVER", "localhost:9")
	for name, c := range map[string]struct {
		before string // the site
		site   string
		want   string // of the error; "": it loads
	}{
		"authelia, with the fields in a block": {"", `WORD localhost:9 {
			uri /api/authz/forward-auth
			copy_headers {
				Remote-User
				Remote-Groups>X-Groups # renamed
			}
		}`, ""},
		"authelia before 4.38": {"", `WORD localhost:9 {
			uri /api/verify?rd=https://auth.example.com
			copy_headers Remote-User Remote-Groups Remote-Name Remote-Email
		}`, ""},
		"authelia, for basic authentication": {"", `WORD localhost:9 {
			uri /api/verify?auth=basic
			copy_headers Remote-User
		}`, ""},
		"authelia, for some paths": {"", `@protected path /admin /admin/*
		WORD @protected localhost:9 {
			uri /api/authz/forward-auth
			copy_headers Remote-User
			trusted_proxies private_ranges 192.0.2.0/24
		}`, ""},
		"authelia, from the environment": {"", `WORD {env.AUTH_SERVER} {
			uri /api/authz/forward-auth
		}`, ""},
		"authentik, behind TLS": {"", `route {
			reverse_proxy /outpost.goauthentik.io/* https://localhost:9 {
				header_up Host {http.reverse_proxy.upstream.hostport}
			}
			WORD https://localhost:9 {
				uri /outpost.goauthentik.io/auth/caddy
				header_up Host {upstream_hostport}
				copy_headers X-Authentik-Username X-Authentik-Groups X-Authentik-Jwt X-Authentik-Meta-Jwks
				trusted_proxies private_ranges
				transport http {
					tls_insecure_skip_verify
				}
			}
		}`, ""},
		"authentik, as a snippet with a matcher": {`(auth) {
			WORD {args[0]} http://localhost:9 {
				uri /outpost.goauthentik.io/auth/caddy
				copy_headers X-Authentik-Username
			}
		}
		`, "import auth /private*", ""},
		"oauth2-proxy, with groups of a snippet": {`(oauth2) {
			@not_oauth2 not path /oauth2/*
			WORD @not_oauth2 localhost:9 {
				uri /oauth2/auth?allowed_groups={args[0]}
				header_up X-Real-IP {remote_host}
				copy_headers X-Auth-Request-User X-Auth-Request-Email
				@unauthenticated status 401
				handle_response @unauthenticated {
					redir http://localhost:9/oauth2/start?rd={scheme}://{host}{uri}
				}
				@forbidden status 403
				handle_response @forbidden {
					respond "not in {args[0]}" 403
				}
			}
		}
		`, "import oauth2 admins", ""},
		"tinyauth": {"", `WORD http://localhost:9 {
			uri /api/auth/caddy
			copy_headers Remote-User Remote-Name Remote-Email Remote-Groups
			header_up X-Forwarded-Proto https
			header_up X-Forwarded-Uri {http.request.orig_uri}
			@login {
				status 4xx
				header X-Tinyauth-Location *
			}
			handle_response @login {
				redir * {rp.header.X-Tinyauth-Location}
			}
		}`, ""},
		"tinyauth, at a socket": {"", `WORD unix//run/tinyauth.sock {
			uri /api/auth/caddy
			copy_headers Remote-User
		}`, ""},
		"vouch-proxy": {"", `WORD localhost:9 {
			uri /validate
			copy_headers X-Vouch-User
			@login status 401
			handle_response @login {
				redir https://vouch.example.com/login?url={scheme}://{host}{uri}&vouch-failcount={rp.header.X-Vouch-Failcount}&error={rp.header.X-Vouch-Err}
			}
		}`, ""},
		"pomerium": {"", `WORD localhost:9 {
			uri /verify?uri={scheme}://{host}{uri}
			copy_headers X-Pomerium-Jwt-Assertion X-Pomerium-Claim-Email
			@login status 401
			handle_response @login {
				redir https://forwardauth.example.com/?uri={scheme}://{host}{uri}
			}
		}`, ""},
		"anubis": {"", `route {
			reverse_proxy /.within.website/* localhost:9
			WORD localhost:9 {
				uri /.within.website/x/cmd/anubis/api/check
				trusted_proxies private_ranges
				@unauthorized status 401
				handle_response @unauthorized {
					redir * /.within.website/?redir={uri} 307
				}
			}
		}`, ""},
		"a server that knows a client's certificate": {"", `WORD localhost:9 {
			uri /validate
			header_up X-Client-Serial {http.request.tls.client.serial}
		}`, ""},
		"a status that is no error": {"", `handle /auth-check {
			WORD localhost:9 {
				uri /oauth2/auth
				@unauthorized status 401
				handle_response @unauthorized {
					respond 401
				}
			}
			respond 200
		}`, ""},
		"the client's own header": {"", `WORD localhost:9 {
			uri /validate
			header_up X-Access-Token {header.X-Access-Token}
		}`, ""},
		"headers that the client sends": {"", `WORD localhost:9 {
			uri /validate
			copy_headers Cookie
		}`, ""},

		"two upstreams": {"", `WORD localhost:9 localhost:10 {
			uri /verify
		}`, "takes one upstream"},
		"an upstream in the block": {"", `WORD {
			to localhost:9
			uri /verify
		}`, "upstream"},
		"health checks": {"", `WORD localhost:9 {
			uri /verify
			health_uri /health
		}`, "name a site of your own that balances with reverse_proxy"},
		"a header of the answer": {"", `WORD localhost:9 {
			uri /verify
			header_down -Server
		}`, "write handle_response"},
	} {
		t.Run(name, func(t *testing.T) {
			text := func(word string) string {
				return strings.ReplaceAll(c.before+inSite(c.site+"\nrespond ok"), "WORD", word)
			}
			require.NoError(t, mistakeOf(t, text("forward_auth")))
			err := mistakeOf(t, text("cached_forward_auth"))
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "Caddyfile:")
		})
	}
}
