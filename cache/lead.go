// Leading: a lookup that may load its record, if its first read of the store finds
// none. The read then takes the key's lease in the same round trip.

package cache

import (
	"context"
	"time"
)

// lead is the flight that a lookup leads, with a slot for the load and, after the
// read, the key's lease. A nil lead belongs to a lookup that only reads.
type lead struct {
	lookup *Lookup
	key    string
	flight *flight // nil after its load was launched
	slot   slot
	token  string // of the lease
	held   bool   // another load has the lease
}

// lead makes a lookup the one that loads the key in this process. It returns nil
// where the lookup has no source, or another lookup loads the key already. It also
// does where the load would have to wait for others, because a lease that waits would
// keep other nodes waiting too, and where the store is likely to have the record,
// because only reading it is cheaper.
func (l *Lookup) lead(key string) *lead {
	if l.options.Source == nil || l.cache.near != nil && l.cache.near.Outlived(key, time.Now()) || !l.slots.tryEnter() {
		return nil
	}
	fl := l.cache.loads.lead(key, l.options.Source)
	if fl == nil {
		l.slots.leave()
		return nil
	}
	return &lead{lookup: l, key: key, flight: fl, slot: slot{queue: l.slots, held: true}}
}

// find reads the record of a key. With a lead, it also takes the lease of a key
// that has none.
func (l *Lookup) find(ctx context.Context, key string, lead *lead, b *budget) (entry Entry, err error) {
	if lead == nil {
		err = b.spend(ctx, func(ctx context.Context) (err error) {
			entry, err = l.read(ctx, key)
			return err
		})
		return entry, err
	}
	err = b.spend(ctx, func(ctx context.Context) (err error) {
		lead.token, entry, err = l.cache.store.GetOrAcquire(ctx, key, l.leaseTTL(), l.options.Tags != nil)
		return err
	})
	if err != nil {
		l.cache.giveBacks.add(key, lead.token, l.leaseTTL())
		lead.token = ""
		return Entry{}, err
	}
	lead.held = lead.token == "" && entry.Record == nil
	if entry.Record != nil {
		lead.slot.give() // a hit may refresh the record, which takes a slot of its own
	}
	return entry, nil
}

// end gives up what the lookup leads, unless its load was launched.
func (d *lead) end(ctx context.Context) {
	if d == nil || d.flight == nil {
		return
	}
	d.slot.give()
	d.lookup.end(ctx, d.key, d.token, nil)
	d.lookup.cache.loads.drop(d.key, d.flight)
	d.flight = nil
}

// launch starts the load, which takes over all that the lookup leads, and waits
// for its result.
func (d *lead) launch(ctx context.Context, b *budget, load loading) Result {
	fl := d.flight
	d.flight = nil
	return d.lookup.cache.loads.launch(ctx, d.key, fl, b.deadline, load)
}
