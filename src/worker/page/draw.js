
'use strict';
/* ---- numbers, in words and units; what is not known is a dash ---- */

const NB = '\u00a0', NONE = '–';
const digits = (n, most) => n.toLocaleString('en', { maximumFractionDigits: most });
const few = (n) => (n > 0 && n < 0.05 ? '<0.1' : n && n < 9.95 ? n.toLocaleString('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 }) : digits(n, 0));
const known = (f) => (n) => (n === null || n === undefined || Number.isNaN(n) ? NONE : f(n));
const count = known((n) => digits(n, 0));
const rate = known((n) => `${few(n)}/s`);
function unit(n, step, names) {
	let i = 0;
	while (n >= step * 0.9995 && i < names.length - 1) {
		n /= step;
		i++;
	}
	return `${i ? few(n) : digits(n, 0)}${NB}${names[i]}`;
}
const bytes = known((n) => unit(n, 1000, ['B', 'kB', 'MB', 'GB', 'TB']));
const byteRate = known((n) => `${bytes(n)}/s`);
const seconds = known((s) => {
	if (s === 0) return `0${NB}ms`;
	const [n, name] = s < 0.001 ? [s * 1e6, 'µs'] : s < 1 ? [s * 1e3, 'ms'] : [s, 's'];
	return `${few(n)}${NB}${name}`;
});
const age = known((s) => {
	const [d, h, m] = [Math.floor(s / 86400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
	if (d) return `${d}${NB}d ${h}${NB}h`;
	if (h) return `${h}${NB}h ${m}${NB}min`;
	return m ? `${m}${NB}min` : `${Math.floor(s)}${NB}s`;
});
const clock = (ms) => new Date(ms).toLocaleTimeString('en-GB');
const many = (n, one, more) => `${count(n)} ${n === 1 ? one : more}`;

/* ---- elements: text is text, never markup ---- */

const $ = (id) => document.getElementById(id);
function say(el, text) {
	if (el.textContent !== text) el.textContent = text;
}
function fill(el, attributes, children) {
	for (const [k, v] of Object.entries(attributes)) if (v !== null) el.setAttribute(k, v);
	el.append(...children);
	return el;
}
const make = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const draw = (name, attributes = {}, ...children) => fill(document.createElementNS('http://www.w3.org/2000/svg', name), attributes, children);

/* ---- curves ---- */

const SPAN_MS = 15 * 60 * 1000, BELOW = 20, ABOVE = 8, BESIDE = 50; /* pixels for text */

/* Round numbers from 0 to what is not below the largest. */
function scale(largest, whole) {
	let step = 10 ** Math.floor(Math.log10(largest / 2));
	step *= [1, 2, 5, 10].find((k) => largest / (step * k) <= 3);
	if (whole && step < 1) step = 1;
	const marks = [];
	for (let i = 0; i * step < largest * 0.9999 || i < 2; i++) marks.push(i * step);
	marks.push(marks.at(-1) + step);
	return marks;
}

/* From what is not above the smallest: for what is far apart, each mark ten times the one below. */
function decades(smallest, largest) {
	const marks = [10 ** Math.floor(Math.log10(smallest) + 1e-9)];
	while (marks.at(-1) < largest * 0.9999 || marks.length < 3) marks.push(marks.at(-1) * 10);
	return marks;
}

/* A curve for each of `lines`: { key, label }, keys of a sample. `whole`: there are no fractions; `tens`: the axis is logarithmic. */
class Curve {
	constructor(title, lines, { text, mark, least, whole = false, tens = false }) {
		Object.assign(this, { title, lines, text, mark, least, whole, tens, samples: [], now: 0, at: null });
		this.moment = make('span', { class: 'moment' });
		this.values = lines.map(() => make('b'));
		this.svg = draw('svg', { class: 'curve', tabindex: 0, role: 'slider', 'aria-label': `${title}, the last 15 minutes`, 'aria-orientation': 'horizontal' });
		this.figure = make('figure', {}, make('figcaption', {}, make('h3', {}, title), ...lines.map((l, i) =>
			make('span', { class: i ? 'second' : 'first' }, make('i'), `${l.label} `, this.values[i])), this.moment), this.svg);
		this.svg.addEventListener('pointermove', (e) => this.point(e));
		this.svg.addEventListener('pointerdown', (e) => this.point(e));
		this.svg.addEventListener('pointerleave', () => this.look(null));
		this.svg.addEventListener('blur', () => this.look(null));
		this.svg.addEventListener('keydown', (e) => this.key(e));
		new ResizeObserver(() => this.paint()).observe(this.svg);
	}

	show(samples, now) {
		Object.assign(this, { samples, now });
		this.paint();
	}

	/* The moment whose values are shown; null: the latest. */
	look(at) {
		if (this.at === at) return;
		this.at = at;
		this.paint();
	}

	point(e) {
		const x = e.clientX - this.svg.getBoundingClientRect().left;
		const at = this.now - SPAN_MS * (1 - (x - BESIDE) / (this.svg.clientWidth - BESIDE));
		const near = this.samples.reduce((a, s) => (a === null || Math.abs(s.at_ms - at) < Math.abs(a - at) ? s.at_ms : a), null);
		this.look(near);
	}

	key(e) {
		const n = this.samples.length;
		const i = this.at === null ? n - 1 : this.samples.findIndex((s) => s.at_ms === this.at);
		const to = { ArrowLeft: i - 1, ArrowDown: i - 1, ArrowRight: i + 1, ArrowUp: i + 1, PageUp: i - 12, PageDown: i + 12, Home: 0, End: n - 1 }[e.key];
		if (e.key === 'Escape') this.look(null);
		if (to === undefined || !n) return;
		e.preventDefault();
		this.look(this.samples[Math.max(0, Math.min(n - 1, to))].at_ms);
	}

	axis(height) {
		const all = this.samples.flatMap((s) => this.lines.map((l) => s[l.key])).filter((n) => n !== null && n !== undefined);
		if (!this.tens) {
			const marks = scale(Math.max(this.least, ...all), this.whole);
			return { marks, y: (n) => height - (height - ABOVE) * n / marks.at(-1) };
		}
		const marks = decades(Math.min(this.least, ...all.filter((n) => n > 0)), Math.max(this.least, ...all));
		const part = (n) => Math.max(0, Math.log(n / marks[0]) / Math.log(marks.at(-1) / marks[0]));
		return { marks, y: (n) => height - (height - ABOVE) * part(Math.max(n, marks[0])) };
	}

	paint() {
		const width = this.svg.clientWidth, height = this.svg.clientHeight - BELOW;
		if (!width || document.hidden) return;
		const samples = this.samples, shown = samples.find((s) => s.at_ms === this.at) ?? samples.at(-1);
		const { marks, y } = this.axis(height);
		const x = (s) => width - (width - BESIDE) * (this.now - s.at_ms) / SPAN_MS;
		const parts = [];
		for (const m of marks) {
			const at = Math.round(y(m)) + 0.5;
			parts.push(draw('line', { class: 'grid', x1: BESIDE, x2: width, y1: at, y2: at }));
		}
		for (const [i, l] of this.lines.entries()) parts.push(...this.line(l.key, i, x, y, height).slice(this.tens && !i ? 1 : 0));
		for (const m of marks) parts.push(draw('text', { x: BESIDE - 8, y: y(m) + 4, 'text-anchor': 'end' }, this.mark(m)));
		for (const [k, min] of [15, 10, 5, 0].entries()) {
			parts.push(draw('text', { x: BESIDE + (width - BESIDE) * k / 3, y: height + 17, 'text-anchor': ['start', 'middle', 'middle', 'end'][k] }, min ? `−${min}${NB}min` : 'now'));
		}
		if (!samples.length) parts.push(draw('text', { x: width / 2, y: height / 2, 'text-anchor': 'middle' }, 'no samples yet'));
		if (this.at !== null && shown) parts.push(...this.cross(shown, x, y, height));
		this.svg.replaceChildren(...parts);
		this.caption(shown);
	}

	/* Broken where samples are missing. */
	line(key, i, x, y, height) {
		let path = '', under = '', before = null;
		for (const s of this.samples) {
			const n = s[key], at = `${x(s).toFixed(1)} `;
			if (n === null || n === undefined || x(s) < BESIDE) {
				if (before) under += `L${x(before).toFixed(1)} ${height}Z`;
				before = null;
				continue;
			}
			if (before && s.at_ms - before.at_ms > 12000) {
				under += `L${x(before).toFixed(1)} ${height}Z`;
				before = null;
			}
			path += before ? `L${at}${y(n).toFixed(1)}` : `M${at}${y(n).toFixed(1)}h.01`;
			under += before ? `L${at}${y(n).toFixed(1)}` : `M${at}${height}L${at}${y(n).toFixed(1)}`;
			before = s;
		}
		if (before) under += `L${x(before).toFixed(1)} ${height}Z`;
		const own = draw('path', { d: path, class: i ? 'second' : null });
		return i ? [own] : [draw('path', { d: under, class: 'under' }), own];
	}

	cross(s, x, y, height) {
		const at = Math.round(x(s)) + 0.5;
		const dots = this.lines.map((l, i) => ({ n: s[l.key], i })).filter(({ n }) => n !== null && n !== undefined)
			.map(({ n, i }) => draw('circle', { cx: x(s), cy: y(n), r: 4, class: i ? 'second' : null }));
		return [draw('line', { class: 'mark', x1: at, x2: at, y1: ABOVE, y2: height }), ...dots];
	}

	caption(s) {
		for (const [i, l] of this.lines.entries()) say(this.values[i], this.text(s?.[l.key] ?? null));
		say(this.moment, this.at !== null && s ? clock(s.at_ms) : '');
		const words = s ? `${clock(s.at_ms)}: ${this.lines.map((l) => `${l.label} ${this.text(s[l.key])}`).join(', ')}` : 'no samples yet';
		this.svg.setAttribute('aria-valuemin', 0);
		this.svg.setAttribute('aria-valuemax', Math.max(0, this.samples.length - 1));
		this.svg.setAttribute('aria-valuenow', Math.max(0, this.samples.indexOf(s)));
		this.svg.setAttribute('aria-valuetext', words);
	}
}

/* ---- tables ---- */

const inOrder = new Intl.Collator('en', { numeric: true });

/*
 * columns: { label, title, text(row), value(row) to sort by, words: it is no number, mark(row): a class, hint(row): a title,
 * below(row): small print that stays }. The first one names the row. Without `sort`, the column it is sorted by at first, rows stay as they come.
 */
class Table {
	constructor(el, columns, { key, sort = null, last = () => false, none = 'none' }) {
		Object.assign(this, { columns, key, last, none, rows: [], kept: new Map(), most: Infinity });
		this.by = sort === null ? null : { column: columns[sort], down: !columns[sort].words };
		this.heads = columns.map((c) => make('th', { scope: 'col', title: c.title ?? null, class: c.words ? 'words' : null }, this.by && c.value ? this.button(c) : c.label));
		this.body = make('tbody');
		el.append(make('thead', {}, make('tr', {}, ...this.heads)), this.body);
		this.mark();
	}

	button(c) {
		const b = make('button', { type: 'button' }, c.label);
		b.addEventListener('click', () => {
			this.by = { column: c, down: this.by.column === c ? !this.by.down : !c.words };
			this.mark();
			this.show(this.rows);
		});
		return b;
	}

	mark() {
		for (const [i, th] of this.heads.entries()) {
			if (this.by?.column === this.columns[i]) th.setAttribute('aria-sort', this.by.down ? 'descending' : 'ascending');
			else th.removeAttribute('aria-sort');
		}
	}

	compare(a, b) {
		const { column, down } = this.by, [x, y] = [column.value(a), column.value(b)];
		const d = this.last(a) - this.last(b);
		if (d) return d;
		const n = column.words ? inOrder.compare(x, y) : (x ?? -1) - (y ?? -1);
		return (down ? -n : n) || inOrder.compare(this.key(a), this.key(b));
	}

	show(rows) {
		this.rows = rows;
		const sorted = this.by ? [...rows].sort((a, b) => this.compare(a, b)) : rows;
		const kept = new Map();
		for (const row of sorted.slice(0, this.most)) {
			const key = this.key(row), tr = this.kept.get(key) ?? make('tr', {}, ...this.columns.map((c, i) => make(i ? 'td' : 'th', i ? {} : { scope: 'row' })));
			kept.set(key, tr);
			for (const [i, c] of this.columns.entries()) this.cell(tr.children[i], c, row);
		}
		this.kept = kept;
		const now = kept.size ? [...kept.values()] : [make('tr', {}, make('td', { class: 'none', colspan: this.columns.length }, this.none))];
		if (now.length !== this.body.children.length || now.some((tr, i) => tr !== this.body.children[i])) this.body.replaceChildren(...now);
	}

	cell(el, c, row) {
		const of = [c.words ? 'words' : '', c.name ? 'name' : '', c.mark?.(row) ?? ''].filter(Boolean).join(' ');
		if (el.className !== of) el.className = of;
		const title = c.hint?.(row);
		if (title && el.title !== title) el.title = title;
		if (c.below) {
			if (!el.firstChild) el.append('', make('small', {}, c.below(row)));
			if (el.firstChild.data !== c.text(row)) el.firstChild.data = c.text(row);
			return;
		}
		say(el, c.text(row));
	}
}
