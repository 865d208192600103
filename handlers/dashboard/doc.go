// Package dashboard is the directive lookup_dashboard: one page that shows what
// the lookups of this node, or of all nodes, do.
//
//   - dashboard.go: the handler. caddyfile.go: its options.
//   - page.go: the page with its Content-Security-Policy. assets/: what is in it.
//   - figures.go: what is measured, and how the figures of nodes are combined.
//   - history.go: the figures of the last hour.
//   - monitor.go: measures every five seconds. fleet.go: exchanges figures with
//     the other nodes, through Redis.
//   - stream.go: sends figures to the page.
//   - actions.go: looks a key up and purges it.
package dashboard
