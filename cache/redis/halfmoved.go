// Leases in a slot that is being moved to another master. Redis refuses scripts
// there (TRYAGAIN) unless all their keys are on one master, and a key that does
// not exist yet is on neither.

package redis

import (
	"context"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// leaseScript is a script over the keys of a load.
type leaseScript struct {
	*goredis.Script
	text string
	// ofLease declares only the key of the lease and gets the other keys as its
	// last arguments. If the lease is not on the old master, the script runs on the
	// new one, where it sees all keys that are not on the old master either.
	ofLease *goredis.Script // nil: the script does not run in such a slot
	lease   int             // the index of the lease's key
	record  bool            // the first key is that of the record
	args    int             // the number of arguments, with the optional last one
}

func newLeaseScript(text string, keys, lease int, record bool, args int) leaseScript {
	var names []string
	for i, other := 0, 0; i < keys; i++ {
		if i == lease {
			names = append(names, "KEYS[1]")
			continue
		}
		names = append(names, fmt.Sprintf("ARGV[#ARGV-%d]", keys-2-other))
		other++
	}
	ofLease := "local KEYS = {" + strings.Join(names, ", ") + "}\n" + text
	return leaseScript{goredis.NewScript(text), text, goredis.NewScript(ofLease), lease, record, args}
}

// runHalfMoved runs a script in a slot that is being moved, unless the record
// exists: the record may be on either master, and the lease on the other. ok is
// false where the script was not run.
func (s *Store) runHalfMoved(ctx context.Context, script *leaseScript, keys []string, args []any) (cmd *goredis.Cmd, ok bool) {
	if script.ofLease == nil {
		return nil, false
	}
	if script.record {
		// A key that is absent on the old master is written on the new one only, so it
		// cannot come back to the old one later.
		if there, err := s.primary.Exists(ctx, keys[0]).Result(); err != nil || there > 0 {
			return nil, false
		}
	}
	if len(args) < script.args {
		args = append(args, "") // no record is empty
	}
	for i, key := range keys {
		if i != script.lease {
			args = append(args, key)
		}
	}
	return script.ofLease.Run(ctx, s.primary, keys[script.lease:script.lease+1], args...), true
}
