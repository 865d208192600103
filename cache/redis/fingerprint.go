package redis

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
	"slices"
)

// Fingerprint is equal for resolved options that make equal stores: it is a
// hash of all fields and of the contents of the certificate files. It does not
// reveal secrets, but it must not be printed.
func (o Options) Fingerprint() string {
	h := sha256.New()
	type plain Options // without String, which leaves secrets out
	p, db, encrypted := plain(o), o.db(), TLS{}
	if o.TLS != nil {
		encrypted = *o.TLS
	}
	p.DB, p.TLS = nil, nil // as pointers they would be hashed as addresses
	fmt.Fprintf(h, "%#v %d %t %#v", p, db, o.TLS != nil, encrypted)
	for _, path := range append([]string{encrypted.Cert, encrypted.Key}, encrypted.CA...) {
		hashFile(h, path)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Place is equal for resolved options whose stores have the same records: those
// of one database of one deployment.
func (o Options) Place() string {
	return fmt.Sprintf("redis %q %q %d", slices.Sorted(slices.Values(o.Addresses)), o.MasterName, o.db())
}

func hashFile(h hash.Hash, path string) {
	if path == "" {
		return
	}
	content, err := os.ReadFile(path)
	// a file that cannot be read is an error when the store is made
	fmt.Fprintf(h, "%q %d %t ", path, len(content), err == nil)
	h.Write(content)
}
