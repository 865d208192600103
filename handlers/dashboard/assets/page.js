// The page: it reads measurements from its own address, ?stream, while it is
// visible, and draws them.
"use strict";

const $ = id => document.getElementById(id);
const keptMilliseconds = 3600 * 1000;
// without a name and password in it, which fetch refuses
const here = location.origin + location.pathname;

// times are in milliseconds; series have a value for each, or null.
const state = {times: [], series: {}, latest: null, nodes: [], limits: {}, families: [], stream: null, lost: false};

// over adds series up, where they have values.
function over(series, names) {
	return state.times.map((_, i) => {
		let total = null;
		for (const name of names) {
			const value = series[name]?.[i];
			if (value !== null && value !== undefined) total = (total ?? 0) + value;
		}
		return total;
	});
}

// outcome is a line of lookups of the chosen family.
function outcome(label, name) {
	return {label, value: series => over(series, chosenFamilies().map(family => family + "_" + name))};
}

function plain(label, name) {
	return {label, value: series => series[name] || []};
}

function chosenFamilies() {
	const chosen = $("family").value;
	return chosen === "all" ? state.families : [chosen];
}

function hitRates(series) {
	const hits = over(series, chosenFamilies().map(f => f + "_hits"));
	const misses = over(series, chosenFamilies().map(f => f + "_misses"));
	return hits.map((h, i) => h === null || h + misses[i] === 0 ? null : 100 * h / (h + misses[i]));
}

const charts = [
	{title: "Lookups per second", format: "rate", lines: [
		outcome("hits", "hits"), outcome("misses", "misses"), outcome("absent", "absent"),
		outcome("denied", "denied"), outcome("stale", "stale"), outcome("errors", "errors")]},
	{title: "Hit rate", format: "percent", top: 100, limit: () => state.limits.hit_rate_below, lines: [{label: "hit rate", value: hitRates}]},
	{title: "Redis round trips", format: "milliseconds", limit: () => state.limits.latency_above,
		lines: [plain("median", "redis_p50"), plain("95 %", "redis_p95"), plain("99 %", "redis_p99")]},
	{title: "Requests to sources", format: "milliseconds",
		lines: [plain("median", "source_p50"), plain("95 %", "source_p95"), plain("99 %", "source_p99")]},
	{title: "Sources, per second", format: "rate",
		lines: [plain("requests", "source_requests"), plain("errors", "source_errors"), plain("coalesced", "source_coalesced")]},
	{title: "Near cache, per second", format: "rate",
		lines: [plain("hits", "near_hits"), plain("invalidations", "near_invalidations"), plain("evictions", "near_evictions")]},
	{title: "Near cache, filled", format: "percent", top: 100, lines: [plain("of max_size", "near_fill")]},
	{title: "Connections to Redis", format: "count", lines: [plain("open", "pool_total"), plain("in use", "pool_in_use"), plain("idle", "pool_idle")]},
	{title: "Refused, per second", format: "rate", lines: [
		plain("reads refused", "refused_reads"), plain("writes refused", "refused_writes"), plain("pool timeouts", "pool_timeouts"), plain("pool waits", "pool_waits")]},
	{title: "Memory of Redis", format: "percent", top: 100, limit: () => state.limits.memory_above, lines: [plain("in use", "memory_percent")]},
	{title: "Clients of Redis", format: "count", limit: () => state.limits.clients_above, lines: [plain("connected", "clients")]},
	{title: "Uploads under way", format: "count", lines: [plain("uploads", "uploads")]},
].map(chart => new Chart($("charts"), chart));

// receive takes a measurement, or many.
function receive(view) {
	state.lost = false;
	Object.assign(state, {latest: view.latest, nodes: view.nodes, limits: view.limits, self: view.node, interval: view.interval});
	if (state.times.length > 0 && view.times[0] - state.times.at(-1) > 2 * view.interval) {
		state.times.push(state.times.at(-1) + view.interval); // nothing is known until the next one
		for (const values of Object.values(state.series)) values.push(null);
	}
	for (const [name, values] of Object.entries(view.series)) {
		state.series[name] = (state.series[name] || new Array(state.times.length).fill(null)).concat(values);
	}
	state.times = state.times.concat(view.times);
	const old = state.times.findIndex(at => at > (state.times.at(-1) || 0) - keptMilliseconds);
	if (old > 0) {
		state.times = state.times.slice(old);
		for (const name in state.series) state.series[name] = state.series[name].slice(old);
	}
	if (state.families.length === 0) {
		state.families = Object.keys(view.series).filter(n => n.endsWith("_misses")).map(n => n.slice(0, -"_misses".length)).sort();
		$("family").append(...state.families.map(f => element("option", {value: f}, f)));
	}
	$("purge").hidden = !view.purge;
	draw();
	if (view.selected !== $("node").value) restart(); // the node that was shown is not known any more
}

function draw() {
	showStatus();
	showNodes();
	showAlerts();
	showTiles();
	showTables();
	const to = (state.times.at(-1) || Date.now()) / 1000, from = to - Number($("span").value);
	const seconds = state.times.map(at => at / 1000);
	for (const chart of charts) chart.show(seconds, state.series, from, to);
}

// set changes a text only where it differs, so that a screen reader repeats nothing.
function set(node, text) {
	if (node.textContent !== text) node.textContent = text;
}

const statusTexts = {
	pass: "All is well", warn: "There is a warning", fail: "The store does not answer",
	wait: "Waiting for the first figures", lost: "No connection to Caddy", gone: "The node does not report",
};

function statusNow() {
	if (state.lost) return "lost";
	if (state.latest) return state.latest.status;
	return state.nodes.length ? "gone" : "wait";
}

function showStatus() {
	const status = statusNow();
	$("status").dataset.status = status === "gone" ? "lost" : status;
	set($("status"), statusTexts[status]);
	document.title = (status === "pass" ? "" : "⚠ ") + "FileWallBall";
}

function nodeName(node) {
	const twins = state.nodes.filter(other => other.name === node.name).length > 1;
	return node.name + (twins ? " (" + node.node.slice(0, 4) + ")" : "") + (node.node === state.self ? ", this one" : "");
}

function showNodes() {
	const select = $("node"), chosen = select.value;
	const options = [["all", "All nodes"], ...state.nodes.map(n => [n.node, nodeName(n)])];
	if (JSON.stringify(options) !== select.dataset.options) {
		select.dataset.options = JSON.stringify(options);
		select.replaceChildren(...options.map(([value, text]) => element("option", {value}, text)));
		select.value = options.some(([value]) => value === chosen) ? chosen : "all";
	}
	fill($("nodes"), state.nodes.map(n => ({
		cells: [nodeName(n), n.current ? n.status : "does not report", n.version || "–", new Date(n.started).toLocaleString("en-GB")],
		statuses: [undefined, n.current ? n.status : "gone"],
	})));
}

function showAlerts() {
	const warnings = state.latest ? state.latest.warnings : [];
	const text = JSON.stringify(warnings);
	if ($("alerts-list").dataset.text === text) return;
	$("alerts-list").dataset.text = text;
	$("alerts-list").replaceChildren(...warnings.map(w => element("li", {"data-status": w.status}, w.output || w.check,
		...w.help ? [" ", element("a", {href: w.help, target: "_blank", rel: "noopener noreferrer"}, "What to do about " + w.check)] : [])));
}

function showTiles() {
	const latest = state.latest, v = latest ? latest.values : {};
	const warned = check => latest && latest.warnings.find(w => w.check === check)?.status;
	const lookups = latest ? chosenFamilies().reduce((n, f) => n + (v[f + "_hits"] || 0) + (v[f + "_misses"] || 0), 0) : undefined;
	const near = v.near_coherent === undefined ? "off" : v.near_coherent ? "trusted" : "not trusted";
	const tiles = [
		["Lookups per second", formatted("rate", lookups)],
		["Hit rate, 5 minutes", latest && latest.lookups ? formatted("percent", latest.hit_rate) : "–",
			warned("lookups:hit_rate")],
		["Redis, 95 % within", formatted("milliseconds", v.redis_p95), warned("redis:latency_p95")],
		["Circuit breaker", latest && latest.breaker || "none", latest && latest.breaker && latest.breaker !== "closed" && "fail"],
		["Near copies", near, near === "not trusted" && "warn"],
		["Records near", formatted("count", v.near_entries)],
		["Size of near cache", formatted("bytes", v.near_bytes)],
		["Redis memory", formatted("percent", v.memory_percent), warned("redis:memory_used")],
		["Uploads under way", formatted("count", v.uploads)],
	];
	if ($("tiles").children.length === 0) {
		$("tiles").append(...tiles.map(([name]) => element("div", {}, element("dt", {}, name), element("dd", {}, ""))));
	}
	tiles.forEach(([, text, status], i) => {
		const tile = $("tiles").children[i];
		set(tile.lastChild, text);
		tile.dataset.status = status || "pass";
	});
}

function showTables() {
	const latest = state.latest || {routes: [], sources: []};
	const routes = latest.routes.filter(r => chosenFamilies().includes(r.family));
	fill($("routes"), routes.map(r => ({
		cells: [r.name, r.family, formatted("rate", r.rate), r.rate > 0 ? formatted("percent", 100 * r.hits / r.rate) : "–",
			formatted("rate", r.errors), formatted("count", r.total)],
		numbers: 2, statuses: [, , , , r.errors > 0 ? "fail" : undefined],
	})), "There were no lookups yet.");
	fill($("sources"), latest.sources.map(s => ({
		cells: [s.name, formatted("rate", s.rate), formatted("rate", s.errors), formatted("count", s.total)],
		numbers: 1, statuses: [, , s.errors > 0 ? "fail" : undefined],
	})), "No source was asked yet.");
}

// fill makes rows; numbers is the first column of numbers.
function fill(body, rows, none) {
	const text = JSON.stringify(rows);
	if (body.dataset.text === text) return;
	body.dataset.text = text;
	if (rows.length === 0 && none) {
		const columns = body.parentElement.tHead.rows[0].cells.length;
		body.replaceChildren(element("tr", {}, element("td", {colspan: columns}, none)));
		return;
	}
	body.replaceChildren(...rows.map(({cells, numbers = Infinity, statuses = []}) => element("tr", {},
		...cells.map((cell, i) => element(i === 0 ? "th" : "td",
			{scope: i === 0 ? "row" : undefined, class: i >= numbers ? "number" : undefined, "data-status": statuses[i]}, cell)))));
}

// connect reads what is new, while the page is visible.
function connect() {
	state.stream?.close();
	state.stream = null;
	if (document.hidden) return;
	const query = new URLSearchParams({stream: "", node: $("node").value, since: state.times.at(-1) || 0});
	const stream = new EventSource(here + "?" + query);
	state.stream = stream;
	stream.onmessage = event => receive(JSON.parse(event.data));
	stream.onerror = () => {
		if (state.stream !== stream) return;
		stream.close(); // it would ask from the same time again
		state.lost = true;
		showStatus();
		setTimeout(() => state.stream === stream && connect(), 2000);
	};
}

function restart() {
	Object.assign(state, {times: [], series: {}, latest: null});
	connect();
}

document.addEventListener("visibilitychange", connect);
$("node").addEventListener("change", restart);
$("family").addEventListener("change", draw);
$("span").addEventListener("change", draw);
new ResizeObserver(() => charts.forEach(chart => chart.resize())).observe($("charts"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
	charts.forEach(chart => chart.make());
	draw();
});

// ask sends what the form asks for.
async function ask(action, key) {
	const token = document.cookie.match(/(?:^|; )filewallball_dashboard=([^;]*)/);
	const response = await fetch(here, {
		method: "POST", credentials: "same-origin", redirect: "error",
		headers: {"Content-Type": "application/json", "X-CSRF-Token": token ? token[1] : ""},
		body: JSON.stringify({action, key}),
	});
	return response.json();
}

async function act(action, key, show) {
	$("key-value").hidden = true;
	set($("key-result"), "Asking …");
	try {
		const answer = await ask(action, key);
		if (answer.error) set($("key-result"), "Not done: " + answer.error + ".");
		else show(answer);
	} catch {
		set($("key-result"), "Caddy does not answer, or not with the dashboard.");
	}
}

$("key-form").addEventListener("submit", event => {
	event.preventDefault();
	act("get", $("key").value, answer => {
		set($("key-result"), answer.ttl_seconds < 0 ? "The record does not expire." : `The record lives for ${answer.ttl_seconds} seconds more.`);
		set($("key-value"), answer.value);
		$("key-value").hidden = false;
	});
});

$("purge").addEventListener("click", () => {
	if (!$("key-form").reportValidity()) return;
	set($("purge-key"), $("key").value);
	$("purge-dialog").returnValue = "";
	$("purge-dialog").showModal();
});
$("purge-dialog").addEventListener("close", () => {
	if ($("purge-dialog").returnValue !== "yes") return;
	act("purge", $("purge-key").textContent, answer => set($("key-result"),
		answer.purged ? "The record is dropped on every node." : "There was no such record."));
});

draw();
connect();
