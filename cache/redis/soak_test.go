package redis

import "os"

// soak reports whether tests may take long: make soak.
func soak() bool { return os.Getenv("FILEWALLBALL_SOAK") != "" }
