package cache

// Waiters is how many lookups of this process wait for the load of a key.
func (c *Cache) Waiters(key string) int { return c.loads.waiters(key) }

// WaitingLoads is how many loads of the lookup wait for others to end.
func (l *Lookup) WaitingLoads() int { return l.slots.waiting() }
