// The charts: lines over time with thresholds, by uPlot. Each has a legend that
// shows the values under the cursor, or the last ones, and switches lines.
"use strict";

const colorNames = ["--one", "--two", "--three", "--four", "--five", "--six"];

function color(name) {
	return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// element makes an element with attributes and children: text or elements.
function element(name, attributes, ...children) {
	const made = document.createElement(name);
	for (const [key, value] of Object.entries(attributes || {})) {
		if (value !== undefined) made.setAttribute(key, value);
	}
	made.append(...children);
	return made;
}

// formats make text of a value.
const formats = {
	rate: v => v >= 100 ? Math.round(v).toLocaleString("en") : v.toFixed(1),
	count: v => Math.round(v).toLocaleString("en"),
	percent: v => v.toFixed(1) + " %",
	milliseconds: v => (v >= 100 ? v.toFixed(0) : v >= 1 ? v.toFixed(1) : v.toFixed(2)) + " ms",
	bytes: v => {
		for (const unit of ["B", "KiB", "MiB", "GiB"]) {
			if (v < 1024 || unit === "GiB") return v.toFixed(unit === "B" ? 0 : 1) + " " + unit;
			v /= 1024;
		}
	},
};

// wholeSteps are those of an axis of things that are counted.
const wholeSteps = Array.from({length: 10}, (_, i) => [1, 2, 5].map(n => n * 10 ** i)).flat();

function formatted(format, value) {
	return value === null || value === undefined ? "–" : formats[format](value);
}

class Chart {
	// lines are {label, value}: value gives the line's numbers from all series.
	// limit gives a threshold, or undefined.
	constructor(parent, {title, format, lines, limit, top}) {
		Object.assign(this, {title, format, lines, limit, top, on: lines.map(() => true), data: [[], ...lines.map(() => [])]});
		this.plot = element("div", {class: "plot", tabindex: 0, role: "img", "aria-label": title});
		this.buttons = lines.map((line, i) => {
			const value = element("b", {}, "–");
			const swatch = element("span", {class: "swatch", "aria-hidden": "true"});
			swatch.style.color = `var(${colorNames[i]})`;
			const button = element("button", {type: "button", "aria-pressed": "true"}, swatch, line.label + " ", value);
			button.addEventListener("click", () => this.toggle(i));
			return {button, value};
		});
		parent.append(element("figure", {},
			element("figcaption", {}, title), this.plot,
			element("ul", {class: "legend", "aria-label": title + ": lines"}, ...this.buttons.map(b => element("li", {}, b.button)))));
		this.plot.addEventListener("keydown", event => this.key(event));
		this.plot.addEventListener("blur", () => this.u.setCursor({left: -10, top: -10}));
		this.make();
	}

	make() {
		this.u?.destroy();
		const axis = {stroke: color("--quiet"), grid: {stroke: color("--grid"), width: 1}, ticks: {stroke: color("--grid"), width: 1}, font: "12px system-ui"};
		const clock = new Intl.DateTimeFormat(undefined, {hour: "2-digit", minute: "2-digit"});
		this.u = new uPlot({
			width: Math.max(this.plot.clientWidth, 100), height: 190,
			legend: {show: false},
			cursor: {y: false, drag: {setScale: false}, points: {size: 6}},
			scales: {x: {time: true}, y: {range: (u, low, high) => [0, this.highest(high)]}},
			axes: [{...axis, size: 32, values: (u, ticks) => ticks.map(at => clock.format(at * 1000))}, {...axis, size: 64, incrs: this.format === "count" ? wholeSteps : undefined, values: (u, ticks) => ticks.map(v => formatted(this.format, v))}],
			series: [{}, ...this.lines.map((line, i) => ({
				label: line.label, stroke: color(colorNames[i]), width: 2, show: this.on[i], points: {show: false}, spanGaps: false,
			}))],
			hooks: {draw: [u => this.drawLimit(u)], setCursor: [() => this.showValues()]},
		}, this.data, this.plot);
		if (this.x) this.u.setScale("x", this.x);
	}

	highest(high) {
		const limit = this.limit?.();
		let top = Math.max(high || 0, 0);
		// a threshold is in the picture where the values come near it
		if (limit !== undefined && top > limit / 4) top = Math.max(top, limit * 1.1);
		if (this.top) return Math.max(this.top, top);
		return top > 0 ? top * 1.1 : 1;
	}

	drawLimit(u) {
		const limit = this.limit?.();
		if (limit === undefined || limit > u.scales.y.max) return;
		const y = Math.round(u.valToPos(limit, "y", true));
		const {ctx, bbox} = u;
		ctx.save();
		ctx.strokeStyle = ctx.fillStyle = color("--bad");
		ctx.lineWidth = devicePixelRatio;
		ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
		ctx.beginPath();
		ctx.moveTo(bbox.left, y);
		ctx.lineTo(bbox.left + bbox.width, y);
		ctx.stroke();
		ctx.textAlign = "left";
		ctx.textBaseline = "bottom";
		ctx.font = `${11 * devicePixelRatio}px system-ui`;
		ctx.fillText("alert " + formatted(this.format, limit), bbox.left + 4 * devicePixelRatio, y - 2 * devicePixelRatio);
		ctx.restore();
	}

	toggle(i) {
		this.on[i] = !this.on[i];
		this.buttons[i].button.setAttribute("aria-pressed", this.on[i]);
		this.u.setSeries(i + 1, {show: this.on[i]});
	}

	// key moves the cursor by the arrow keys.
	key(event) {
		const last = this.data[0].length - 1;
		const moves = {ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity};
		if (!(event.key in moves) || last < 0) return;
		event.preventDefault();
		const at = Math.min(Math.max((this.u.cursor.idx ?? last) + moves[event.key], 0), last);
		this.u.setCursor({left: this.u.valToPos(this.data[0][at], "x"), top: 10});
	}

	// showValues puts the values at the cursor, or the last, into the legend.
	showValues() {
		if (!this.u) return;
		const at = this.u.cursor.left >= 0 ? this.u.cursor.idx : this.data[0].length - 1;
		const said = this.lines.map((line, i) => {
			const text = formatted(this.format, this.data[i + 1][at ?? -1]);
			this.buttons[i].value.textContent = text;
			return line.label + " " + text;
		});
		this.plot.setAttribute("aria-label", this.title + ": " + said.join(", "));
	}

	// show draws the series, from a time to a time in seconds.
	show(times, series, from, to) {
		this.data = [times, ...this.lines.map(line => line.value(series))];
		this.x = {min: from, max: to};
		this.u.batch(() => {
			this.u.setData(this.data, false);
			this.u.setScale("x", this.x);
		});
		this.u.redraw(true, true);
		this.showValues();
	}

	resize() {
		const width = this.plot.clientWidth;
		if (width > 0 && width !== this.u.width) this.u.setSize({width, height: 190});
	}
}
