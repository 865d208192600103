// Package filesource is the source file_system: records of files.
//
//   - locate.go finds the file that file_server would serve for a request path,
//     including index files, or that it would answer 404. hide.go has its rules for
//     hidden files, follow.go the settings of the file_server behind the lookup.
//   - state.go has the state of a file, by which changes are detected: its kind, size
//     and date and, on systems that have them, inode and change time.
//   - load.go makes records. current.go chooses at each hit the record that describes
//     the file on this node. It checks the file at most once per revalidate.
//   - hasher.go hashes files in the background, pace.go limits the CPU time for that,
//     and hash.go shares the hashes with the fleet. content.go keeps small files in
//     memory. list.go lists all files that a site may serve, listed.go what was seen
//     meanwhile.
//
// # Which changes are detected
//
// A changed file has another size, date, inode or change time. On file systems without
// inodes in Go's os.FileInfo, and on systems other than Unix, only size and date count:
// a change that keeps both is not detected there. A file without a date as well (an
// embedded one) is hashed once by each process, and its hash is not shared.
//
// # Nodes whose files differ
//
// A record in the cache is about the file of the node that wrote it. A node
// whose file is in another state replaces the record once for that state, and
// then uses its own record in place of the cached one. With hash, it uses any record
// with the hash of its own content, whatever the dates.
package filesource
