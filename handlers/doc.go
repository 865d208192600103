// Package handlers is the parent of the Caddy modules over package cache; it
// has no code of its own.
//
//   - lookup: what all lookups share: identities and keys of requests, responses when a
//     lookup fails, placeholders, Cache-Status, names in statistics, tags.
//   - session: session_lookup. metadata: file_metadata. upload:
//     upload_progress and its report. invalidate: lookup_invalidate.
//   - source: where records are loaded from; source/http and source/filesystem.
//   - admin: the admin API. command: the command line, over the admin API
//     alone.
//   - dashboard: lookup_dashboard. health: its checks and events. metrics: the
//     Prometheus metrics. filesystem: the file system module lookup_cache.
//   - stores: the configuration of the stores. lifetime: what outlives a configuration.
//   - directive: how Caddyfile options are read. template: texts with
//     placeholders.
//   - sitetest: a real Caddy for tests. e2e: a module of its own, for tests
//     that need a browser, a terminal, or packages of other languages.
//
// Imports go one way: session, metadata, upload, invalidate and admin import
// lookup, which imports source, template, directive and cache. Handlers reach
// the app through the interface lookup.App, never through the root package.
package handlers
