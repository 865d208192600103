package matrix

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// point is one configuration of a lookup: a value of each axis.
type point struct {
	file      bool   // the family: file metadata instead of sessions
	source    string // none, http or file_system
	path      string // of the URL of an http source
	site      string // what the source is told of the site: "", a name, or {host}
	copies    bool   // the source copies a response header into the record
	forwards  bool   // session_lookup copies a field into a request header
	hash      bool   // hash_id
	hashFiles bool   // source file_system hashes contents
}

// points are all combinations of the axes that make sense.
func points() (all []point) {
	bools := []bool{false, true}
	for _, file := range bools {
		for _, hash := range bools {
			all = append(all, point{file: file, source: "none", hash: hash})
			for _, path := range []string{"/one", "/two"} {
				for _, site := range []string{"", "site.test", "{http.request.header.X-Site}"} {
					for _, copies := range bools {
						all = append(all, point{file: file, source: "http", path: path, site: site, copies: copies, hash: hash})
					}
				}
			}
			if file {
				for _, hashFiles := range bools {
					all = append(all, point{file: true, source: "file_system", hash: hash, hashFiles: hashFiles})
				}
			}
		}
	}
	for _, p := range all {
		if !p.file {
			p.forwards = true
			all = append(all, p)
		}
	}
	return all
}

// distance is in how many axes two points differ.
func distance(a, b point) (n int) {
	for _, differ := range []bool{
		a.file != b.file, a.source != b.source, a.path != b.path, a.site != b.site, a.copies != b.copies,
		a.forwards != b.forwards, a.hash != b.hash, a.hashFiles != b.hashFiles,
	} {
		if differ {
			n++
		}
	}
	return n
}

// slot is a pair of lookups that share their keys. Each node has one of them.
type slot struct {
	number int
	side   [2]point
	brief  bool // records expire while the test looks
}

// slots are pairs: a share of those that differ in one axis alone, and of all others.
func slots(random *rand.Rand, near, far int) (chosen []slot) {
	var neighbours, others [][2]point
	all := points()
	for i, a := range all {
		for _, b := range all[i+1:] {
			if distance(a, b) == 1 {
				neighbours = append(neighbours, [2]point{a, b})
			} else {
				others = append(others, [2]point{a, b})
			}
		}
	}
	for _, take := range []struct {
		from [][2]point
		n    int
	}{{neighbours, near}, {others, far}} {
		random.Shuffle(len(take.from), func(i, j int) { take.from[i], take.from[j] = take.from[j], take.from[i] })
		for _, pair := range take.from[:min(take.n, len(take.from))] {
			if random.IntN(2) == 0 {
				pair[0], pair[1] = pair[1], pair[0]
			}
			chosen = append(chosen, slot{number: len(chosen), side: pair, brief: len(chosen)%3 == 0})
		}
	}
	return chosen
}

// prefixes are the global key_prefix of the nodes. The keys of lookups make up for
// it, so that they are equal.
var prefixes = [2]string{"", "p:"}

// lookupOf is the lookup of one side of a slot, with a key that follows prefix.
func (s slot) lookupOf(side, node int, application, root string) string {
	p := s.side[side]
	key := fmt.Sprintf("m%d:{id}", s.number)
	if prefixes[node] == "" {
		key = prefixes[1] + key
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	switch {
	case p.source == "file_system":
		line("file_metadata {")
	case p.file:
		line("file_metadata {header.X-Id} {")
	default:
		line("session_lookup {header.X-Id} {")
	}
	line("key %s\nname n%d\nstale_if_error 1h", key, s.number)
	line("hash_id %s", map[bool]string{true: "on", false: "off"}[p.hash])
	if s.brief {
		line("ttl 1s\nnegative_ttl 1s")
	} else {
		line("ttl 1h\nnegative_ttl 1h")
	}
	switch p.source {
	case "none":
		line("source none")
	case "http":
		line("source http %s%s?id={id} {", application, p.path)
		if p.site != "" {
			line("header X-Site %s", p.site)
		}
		if p.copies {
			line("copy_headers X-Extra")
		}
		line("}\ntag t%d", s.number)
	case "file_system":
		line("source file_system {\nroot %s\nrevalidate 1ms", root)
		if p.hashFiles {
			line("hash sha256")
		}
		line("}\ntag t%d", s.number)
	}
	if p.forwards {
		line("copy_headers question>X-Question")
	}
	if p.file {
		line("on_error 503\non_missing 404")
	}
	line("}")
	return b.String()
}

// routeOf is the route of one side of a slot. It answers what the lookup found.
func (s slot) routeOf(side, node int, application, root string) string {
	family := "session"
	if s.side[side].file {
		family = "file_metadata"
	}
	return fmt.Sprintf("handle_path /s%d/* {\nroute {\n%s"+
		"respond \"question={http.%[3]s.question} user={http.%[3]s.user_id} extra={http.%[3]s.headers.X-Extra} size={http.%[3]s.size} forwarded={header.X-Question}\"\n}\n}\n",
		s.number, s.lookupOf(side, node, application, root), family)
}
