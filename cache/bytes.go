package cache

import "fmt"

// FormatBytes writes a number of bytes as Redis does in INFO: a size up to
// 1023B as it is, larger ones in K, M, G or T with two decimals.
func FormatBytes(bytes int64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%dB", bytes)
	}
	size, unit := float64(bytes)/(1<<10), 0
	for ; size >= 1<<10 && unit < 3; unit++ {
		size /= 1 << 10
	}
	return fmt.Sprintf("%.2f%c", size, "KMGT"[unit])
}
