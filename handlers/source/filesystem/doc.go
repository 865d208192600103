// Package filesource is the source file_system: records of files.
//
//   - locate.go finds the file that file_server would serve for a request path,
//     index files among them, or that it would answer 404; hide.go has its rules
//     for hidden files, follow.go what is taken over from the file_server behind
//     the lookup.
//   - state.go is what tells one state of a file from the next: its kind, size
//     and date and, on systems that have them, inode and change time.
//   - load.go makes records. current.go finds out at each hit which record is
//     true of the file on this node, with a check of the file at most once per
//     revalidate.
//   - hasher.go has the files that wait to be hashed in the background, pace.go
//     how much of the CPU that takes, hash.go how the fleet shares the hashes;
//     content.go keeps small files in memory; list.go walks all that a site may
//     serve.
//
// # What is seen of a change
//
// A file that is changed has another size, date, inode or change time. File
// systems that give no inodes to Go's os.FileInfo, and systems other than Unix,
// have size and date alone: another content of the same size that is given the
// same date is not seen there. A file that has no date either (an embedded one)
// is hashed once by each process, and its hash is not shared.
//
// # Nodes whose files differ
//
// A record in the cache is about the file of the node that wrote it. A node
// whose file is in another state replaces the record once for that state, and
// then uses its own record in place of whatever is cached. With hash, a record
// with the same content is as good as its own, whatever the dates.
package filesource
