// Groups of index files and precompressed files, compared with file_server alone.

package main

import "net/http"

// entityTags are those that file_server sends.
type entityTags struct{ small, precompressed string }

// acceptAll is the header that browsers send.
const acceptAll = "Accept-Encoding: gzip, deflate, br, zstd\r\n"

func fileGroups(etags entityTags) []group {
	conditional := func(path, header string) requestTemplate {
		return requestTemplate{method: http.MethodGet, path: path, header: header, want: http.StatusNotModified}
	}
	head := func(path string) requestTemplate {
		return requestTemplate{method: http.MethodHead, path: path, want: http.StatusOK}
	}
	compressed := requestTemplate{method: http.MethodGet, path: style, header: acceptAll, want: http.StatusOK}
	headCompressed := compressed
	headCompressed.method = http.MethodHead
	both := "session_lookup + file_metadata (near hits) + file_server / bare file_server"
	memory := "the same with `memory 64KiB` / bare file_server"
	return []group{
		{name: "GET /", variants: bySite(get("/"), bareFiles, metadataFiles, memoryFiles), bars: []bar{
			{both, 1.2, over(metadataFiles, bareFiles)}, {memory, 2.5, over(memoryFiles, bareFiles)},
		}},
		{name: "GET /dir/", variants: bySite(get(indexed), bareFiles, metadataFiles, memoryFiles), bars: []bar{
			{both, 1.2, over(metadataFiles, bareFiles)}, {memory, 2.5, over(memoryFiles, bareFiles)},
		}},
		{name: "GET precompressed", variants: bySite(compressed, barePrecompressed, metadataPrecompressed, memoryPrecompressed), bars: []bar{
			{both, 1.2, over(metadataPrecompressed, barePrecompressed)}, {memory, 2.5, over(memoryPrecompressed, barePrecompressed)},
		}},
		{name: "HEAD /dir/", variants: bySite(head(indexed), bareFiles, metadataFiles), bars: []bar{
			{both, 1.2, over(metadataFiles, bareFiles)},
		}},
		{name: "HEAD precompressed", variants: bySite(headCompressed, barePrecompressed, metadataPrecompressed), bars: []bar{
			{both, 1.2, over(metadataPrecompressed, barePrecompressed)},
		}},
		{
			name:     "304 precompressed",
			variants: bySite(conditional(style, acceptAll+"If-None-Match: "+etags.precompressed+"\r\n"), barePrecompressed, metadataPrecompressed),
			bars:     []bar{{both, 1.2, over(metadataPrecompressed, barePrecompressed)}},
		},
		{
			name:     "404 of a directory without an index file",
			variants: bySite(requestTemplate{method: http.MethodGet, path: unindexed, want: http.StatusNotFound}, bareFiles, error404, metadataFiles),
			bars: []bar{
				{both, 1, over(metadataFiles, bareFiles)},
				{"session_lookup + file_metadata (remembered) / Caddy's `error 404` with the same headers", 0, over(metadataFiles, error404)},
			},
		},
	}
}
