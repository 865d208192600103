// The groups: which sites are compared with which requests, and the ratios that
// they have to reach.

package main

import "net/http"

// group is a set of variants that are measured in turns, and compared.
type group struct {
	name     string
	variants []variant
	bars     []bar
	// cold also measures one request for each of many sessions that no server has
	// cached.
	cold bool
	// coldOnly measures nothing else, and compares that with the bars.
	coldOnly bool
}

// variant is one request at one site.
type variant struct {
	site     string
	template requestTemplate
	// traffic that requests of new sessions, and of cached ones, must cause
	cold, warm traffic
}

// few is the number of connections for slow responses: with more, the requests
// that are cut off at the end would be a large part of all, and each would wait for
// the others.
const few = 4

func (v variant) connections() int {
	if v.template.path == large || v.site == slowFS || v.site == slowCachedFS {
		return few
	}
	return connections
}

// traffic is what requests to a site cause: requests to the application, lookups in
// Redis, and loads of records of files. trips is the largest number of round trips
// to Redis for each session; 0 is not checked.
type traffic struct {
	application, redis, files frequency
	trips                     float64
}

// frequency is how often a load causes something.
type frequency int

const (
	anyNumber frequency = iota // not checked
	never
	perSession // once for each session
	perRequest
)

// bar is a ratio between sites, and the least that it must be; 0 is only for
// comparison.
type bar struct {
	work string
	want float64
	// of computes the ratio from the figure of each site in one round.
	of func(figure func(site string) float64) float64
}

// over divides the figure of one site by that of another.
func over(site, other string) func(func(string) float64) float64 {
	return func(figure func(string) float64) float64 { return figure(site) / figure(other) }
}

// share compares two servers by what protection leaves of the throughput of their
// own unprotected sites.
func share(site, unprotected, other, otherUnprotected string) func(func(string) float64) float64 {
	return func(figure func(string) float64) float64 {
		return figure(site) / figure(unprotected) / (figure(other) / figure(otherUnprotected))
	}
}

// bySite returns a variant of the same request for each site, with the traffic
// that it must cause.
func bySite(template requestTemplate, sites ...string) []variant {
	var variants []variant
	for _, site := range sites {
		v := variant{site: site, template: template}
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
				v.template.want = http.StatusUnauthorized
			case deniedFiles:
				v.template.want = http.StatusForbidden
			}
		case nearOffFiles, nginxLuaFiles:
			v.cold, v.warm = traffic{application: never, redis: perRequest}, traffic{application: never, redis: perRequest}
		case forwardAuthFiles:
			v.cold, v.warm = traffic{application: perRequest, redis: never}, traffic{application: perRequest, redis: never}
		case bareRequestFiles:
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

// twoTrips checks that a new session from the application takes at most two round
// trips to Redis.
func twoTrips(variants []variant) []variant {
	for i := range variants {
		if variants[i].site == sourceFiles {
			variants[i].cold.trips = 2
		}
	}
	return variants
}

func get(path string) requestTemplate {
	return requestTemplate{method: http.MethodGet, path: path, want: http.StatusOK}
}

// groups returns all groups. etags are those of the small file and of the
// precompressed one.
func groups(etags entityTags) []group {
	head := requestTemplate{method: http.MethodHead, path: small, want: http.StatusOK}
	unchanged := requestTemplate{method: http.MethodGet, path: small, header: "If-None-Match: " + etags.small + "\r\n", want: http.StatusNotModified}
	missing := requestTemplate{method: http.MethodGet, path: absent, want: http.StatusNotFound}
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
				absentFiles, deniedFiles, forwardAuthFiles, bareRequestFiles)),
			cold: true, coldOnly: true,
			bars: []bar{
				{"session_lookup with source http / forward_auth", 2.5, over(sourceFiles, forwardAuthFiles)},
				{"the same with two tags / forward_auth", 0, over(taggedFiles, forwardAuthFiles)},
				{"session_lookup with source http / bare requests to the application and Redis", 0, over(sourceFiles, bareRequestFiles)},
				{"for comparison, bare requests to the application and Redis / forward_auth", 0, over(bareRequestFiles, forwardAuthFiles)},
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
