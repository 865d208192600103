package cache

// Waiters is how many lookups of this process wait for the load of a key.
func (c *Cache) Waiters(key string) int { return c.loads.waiters(key) }
