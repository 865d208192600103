package source

// Rooted is a source whose files are below directories.
type Rooted interface {
	// Roots returns the directories to which requests have led.
	Roots() []Root
	// RootNamed returns the directory of a name, as it was in another configuration. ok is
	// false if no request can lead to it.
	RootNamed(name string) (root Root, ok bool)
}

// Root is a directory with files.
type Root struct {
	// Name is the directory as it is configured, after "<file system>:" if it is not on
	// the server's own disk. It has nothing of a request in it.
	Name string
	// Check returns an error if the files below the directory cannot be read. It may take
	// as long as the file system does.
	Check func() error
}
