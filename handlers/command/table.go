package command

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
)

// table aligns the columns of rows. Rows are written by Flush.
type table struct{ *tabwriter.Writer }

func newTable(w io.Writer) table {
	return table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

// row adds a row. It makes the cells printable, because they may come from the server.
func (t table) row(cells ...string) {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	fmt.Fprintln(t, strings.Join(cells, "\t"))
}

// gap ends a group of rows that share the widths of columns.
func (t table) gap() {
	_ = t.Flush()
	fmt.Fprintln(t)
}

func count[N int | int64 | uint32 | uint64](n N) string { return humanize.Comma(int64(n)) }

func size[N int | int64 | uint64](bytes N) string { return humanize.IBytes(uint64(max(0, bytes))) }

func percent(p float64) string { return fmt.Sprintf("%.1f%%", p) }

func milliseconds(ms float64) string { return fmt.Sprintf("%.2f ms", ms) }

// span formats a duration in its two largest units.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	day := 24 * time.Hour
	switch {
	case d >= day:
		return fmt.Sprintf("%dd %dh", d/day, d%day/time.Hour)
	case d >= time.Hour:
		return fmt.Sprintf("%dh %dm", d/time.Hour, d%time.Hour/time.Minute)
	case d >= time.Minute:
		return fmt.Sprintf("%dm %ds", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%ds", d/time.Second)
}

// many is a number with its noun: 1 key, 2 keys.
func many[N int | int64 | uint64](n N, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + one + "s"
}
