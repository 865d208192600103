// Package filesource is the source file_system: it makes records of files on
// this node.
//
//   - filesystem.go: the configuration. caddyfile.go: the options.
//   - locate.go: which file a request path leads to; hide.go: which files are
//     hidden; follow.go: what is taken over from the file_servers behind the
//     lookup.
//   - load.go: how a file becomes a record; state.go, version_*.go and
//     changed_*.go: how a change of a file is noticed.
//   - current.go: whether a record still agrees with its file.
//   - hash.go: content hashes, computed in the background. content.go: small
//     files in memory. list.go: all files, for warm-up.
package filesource
