// A lookup that leads loads the record, if its first read of the
// store finds none. That read then takes the key's lease in the same round trip.

package cache

import (
	"context"
	"time"
)

// lead holds what a leading lookup has taken for its load: the flight, a slot and,
// after the read, the key's lease. It is nil for a lookup that only reads.
type lead struct {
	lookup *Lookup
	key    string
	flight *flight // nil after its load was launched
	slot   slot
	token  string // of the lease
	held   bool   // another load has the lease
}

// lead lets the lookup lead, or returns nil:
//
//   - if it has no source, or another lookup in this process loads the key already;
//   - if the load would have to wait for a slot, because other nodes would wait for
//     its lease meanwhile;
//   - if the store is likely to have the record, because a plain read is cheaper.
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

// end gives back all that was taken, unless the load was launched.
func (d *lead) end(ctx context.Context) {
	if d == nil || d.flight == nil {
		return
	}
	d.slot.give()
	d.lookup.end(ctx, d.key, d.token, nil)
	d.lookup.cache.loads.drop(d.key, d.flight)
	d.flight = nil
}

// launch starts the load, which takes over the flight, the slot and the lease, and
// waits for its result.
func (d *lead) launch(ctx context.Context, b *budget, load loading) Result {
	fl := d.flight
	d.flight = nil
	return d.lookup.cache.loads.launch(ctx, d.key, fl, b.deadline, load)
}
