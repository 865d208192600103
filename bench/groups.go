// What is compared with what, and what it has to reach.

package main

import "net/http"

// group is measured together: its variants take turns.
type group struct {
	name     string
	variants []variant
	bars     []bar
	// cold asks once for each of many sessions that were never used.
	cold bool
	// coldOnly measures nothing else, and the bars are of that.
	coldOnly bool
}

// variant is one request at one site.
type variant struct {
	site string
	ask  asking
	// what asks the application and Redis, while a session is new and later
	cold, warm traffic
}

// few connections are used where those that wait at the end would be a large
// part, and where many would hide how long each has to wait.
const few = 4

func (v variant) connections() int {
	if v.ask.path == large || v.site == slowFS || v.site == slowCachedFS {
		return few
	}
	return connections
}

// traffic is how often a site asks others. files is how often it reads the
// metadata of files into records. trips is the most round trips to Redis for each
// session; 0 is not checked.
type traffic struct {
	application, redis, files often
	trips                     float64
}

// often is how often something is asked.
type often int

const (
	anyNumber often = iota // not checked
	never
	perSession // once for each session
	perRequest
)

// bar is a ratio of what two sites do.
type bar struct {
	work string
	want float64
	// of computes it from what each site did in one round.
	of func(did func(site string) float64) float64
}

// over is what one site does in terms of another.
func over(site, other string) func(func(string) float64) float64 {
	return func(did func(string) float64) float64 { return did(site) / did(other) }
}

// share compares two servers by what is left of their own unprotected sites.
func share(site, unprotected, other, otherUnprotected string) func(func(string) float64) float64 {
	return func(did func(string) float64) float64 {
		return did(site) / did(unprotected) / (did(other) / did(otherUnprotected))
	}
}

// bySite are variants that differ in nothing but the site.
func bySite(ask asking, sites ...string) []variant {
	var variants []variant
	for _, site := range sites {
		v := variant{site: site, ask: ask}
		switch site {
		case sessionFiles:
			v.cold, v.warm = traffic{application: never, redis: perSession, trips: 1}, traffic{application: never, redis: never}
		case metadataFiles, memoryFiles, metadataPrecompressed, memoryPrecompressed:
			v.cold = traffic{application: never, redis: perSession, files: never, trips: 1}
			v.warm = traffic{application: never, redis: never, files: never}
		case sourceFiles:
			v.cold, v.warm = traffic{application: perSession, redis: anyNumber}, traffic{application: never, redis: never}
		case taggedFiles, absentFiles, deniedFiles:
			v.cold = traffic{application: perSession, redis: anyNumber, trips: 2}
			switch site {
			case absentFiles:
				v.ask.want = http.StatusUnauthorized
			case deniedFiles:
				v.ask.want = http.StatusForbidden
			}
		case nearOffFiles, nginxLuaFiles:
			v.cold, v.warm = traffic{application: never, redis: perRequest}, traffic{application: never, redis: perRequest}
		case forwardAuthFiles:
			v.cold, v.warm = traffic{application: perRequest, redis: never}, traffic{application: perRequest, redis: never}
		case limitFiles:
			v.cold = traffic{application: perRequest, redis: anyNumber}
		case nginxAuthFiles:
			v.cold, v.warm = traffic{application: perSession, redis: never}, traffic{application: never, redis: never}
		default:
			v.cold, v.warm = traffic{application: never, redis: never}, traffic{application: never, redis: never}
		}
		variants = append(variants, v)
	}
	return variants
}

// twoTrips lets sites that ask the application for new sessions take two round trips
// to Redis for each.
func twoTrips(variants []variant) []variant {
	for i := range variants {
		if variants[i].site == sourceFiles {
			variants[i].cold.trips = 2
		}
	}
	return variants
}

func get(path string) asking { return asking{method: http.MethodGet, path: path, want: http.StatusOK} }

// groups are all that is compared. etags are those of the small file and of the
// precompressed one.
func groups(etags tags) []group {
	head := asking{method: http.MethodHead, path: small, want: http.StatusOK}
	unchanged := asking{method: http.MethodGet, path: small, header: "If-None-Match: " + etags.small + "\r\n", want: http.StatusNotModified}
	missing := asking{method: http.MethodGet, path: absent, want: http.StatusNotFound}
	return append([]group{
		{
			name: "GET 2 KiB", variants: bySite(get(small), bareFiles, sessionFiles, metadataFiles, memoryFiles, cachedFS),
			cold: true,
			bars: []bar{
				{"session_lookup + file_metadata (near hits) + file_server / bare file_server", 1.0, over(metadataFiles, bareFiles)},
				{"the same with `memory 64KiB` / bare file_server", 1.8, over(memoryFiles, bareFiles)},
				{"file_server over lookup_cache / bare file_server", 1.1, over(cachedFS, bareFiles)},
			},
		},
		{name: "GET 100 KiB", variants: bySite(get(medium), bareFiles, metadataFiles), bars: []bar{
			{"session_lookup + file_metadata + file_server / bare file_server", 0, over(metadataFiles, bareFiles)},
		}},
		{name: "GET 10 MiB", variants: bySite(get(large), bareFiles, metadataFiles), bars: []bar{
			{"session_lookup + file_metadata + file_server / bare file_server", 0, over(metadataFiles, bareFiles)},
		}},
		{name: "HEAD", variants: bySite(head, bareFiles, respond200, headers200, metadataFiles), bars: []bar{
			{"session_lookup + file_metadata / `respond`", 0.85, over(metadataFiles, respond200)},
			{"session_lookup + file_metadata / `respond` with the same headers", 0, over(metadataFiles, headers200)},
			{"session_lookup + file_metadata / bare file_server", 2, over(metadataFiles, bareFiles)},
			{"for comparison, `respond` / bare file_server", 0, over(respond200, bareFiles)},
		}},
		{name: "304", variants: bySite(unchanged, bareFiles, respond304, headers304, metadataFiles, cachedFS), bars: []bar{
			{"session_lookup + file_metadata / `respond`", 0.85, over(metadataFiles, respond304)},
			{"session_lookup + file_metadata / `respond` with the same headers", 0, over(metadataFiles, headers304)},
			{"session_lookup + file_metadata / bare file_server", 2, over(metadataFiles, bareFiles)},
			{"for comparison, `respond` / bare file_server", 0, over(respond304, bareFiles)},
			{"file_server over lookup_cache / bare file_server", 1.4, over(cachedFS, bareFiles)},
		}},
		{name: "404", variants: bySite(missing, bareFiles, respond404, error404, metadataFiles), bars: []bar{
			{"session_lookup + file_metadata (remembered) / `respond`", 0.85, over(metadataFiles, respond404)},
			{"session_lookup + file_metadata (remembered) / Caddy's `error 404` with the same headers", 0, over(metadataFiles, error404)},
			{"session_lookup + file_metadata (remembered) / bare file_server", 2, over(metadataFiles, bareFiles)},
			{"for comparison, `respond` / bare file_server", 0, over(respond404, bareFiles)},
			{"for comparison, Caddy's `error 404` / `respond`", 0, over(error404, respond404)},
		}},
		{
			name: "asking an application", variants: bySite(get(small), bareFiles, sourceFiles, forwardAuthFiles, nginxFiles, nginxAuthFiles),
			cold: true,
			bars: []bar{
				{"session_lookup with source http / forward_auth", 3.3, over(sourceFiles, forwardAuthFiles)},
				{"the same as a share of its own unprotected route / nginx auth_request + proxy_cache likewise", 1.0,
					share(sourceFiles, bareFiles, nginxAuthFiles, nginxFiles)},
			},
		},
		{
			name: "new sessions",
			variants: twoTrips(bySite(get(small), bareFiles, sessionFiles, metadataFiles, sourceFiles, taggedFiles,
				absentFiles, deniedFiles, forwardAuthFiles, limitFiles)),
			cold: true, coldOnly: true,
			bars: []bar{
				{"session_lookup with source http / forward_auth", 2.5, over(sourceFiles, forwardAuthFiles)},
				{"the same with two tags / forward_auth", 0, over(taggedFiles, forwardAuthFiles)},
				{"session_lookup with source http / bare requests to the application and Redis", 0, over(sourceFiles, limitFiles)},
				{"for comparison, bare requests to the application and Redis / forward_auth", 0, over(limitFiles, forwardAuthFiles)},
				{"session_lookup of what the application wrote + file_metadata / bare file_server", 1.1, over(metadataFiles, bareFiles)},
			},
		},
		{
			name: "asking Redis each time", variants: bySite(get(small), bareFiles, nearOffFiles, nginxFiles, nginxLuaFiles),
			bars: []bar{
				{"near cache off, session_lookup + file_server / bare file_server", 0.75, over(nearOffFiles, bareFiles)},
				{"the same as a share of its own unprotected route / nginx + Lua + Redis likewise", 1.0,
					share(nearOffFiles, bareFiles, nginxLuaFiles, nginxFiles)},
			},
		},
		{name: "GET, files 5 ms away", variants: bySite(get(small), slowFS, slowCachedFS), bars: []bar{
			{"file_server over lookup_cache / without", 20, over(slowCachedFS, slowFS)},
		}},
		{name: "304, files 5 ms away", variants: bySite(unchanged, slowFS, slowCachedFS), bars: []bar{
			{"file_server over lookup_cache / without", 20, over(slowCachedFS, slowFS)},
		}},
	}, fileGroups(etags)...)
}
