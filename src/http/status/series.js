// The Prometheus text, kept over time: rates, and quantiles from classic buckets. Knows no page and no metric.

/** What a value in the exposition stands for. */
export const number = (text) => ({ "+Inf": Infinity, Inf: Infinity, "-Inf": -Infinity })[text] ?? Number(text);

/** `name{a="b"}` as name and labels. */
export function identity(text) {
  const brace = text.indexOf("{");
  if (brace < 0) return { name: text, labels: {} };
  const labels = {};
  for (const [, label, raw] of text.slice(brace).matchAll(/([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"/g)) {
    labels[label] = raw.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
  }
  return { name: text.slice(0, brace), labels };
}

/** Where a line's series ends and its value, maybe with a timestamp, begins. */
const end = (line) => (line.includes("{") ? line.lastIndexOf("}") + 1 : line.search(/\s/));

/** The value under which a share `q` lies, by the counts up to each edge; Infinity when it lies above all edges. */
export function quantile(q, counts) {
  const edges = [...counts].map(([edge, count]) => [number(edge), count]).sort((a, b) => a[0] - b[0]);
  const total = edges.at(-1)?.[1] ?? 0;
  if (!(total > 0)) return null;
  const place = edges.findIndex(([, count]) => count >= q * total);
  const [upper, count] = edges[place];
  if (upper === Infinity) return Infinity;
  const [lower, before] = place > 0 ? edges[place - 1] : [0, 0];
  return lower + ((upper - lower) * (q * total - before)) / (count - before || 1);
}

/** Samples of the series with the wanted names, as far back as `keep` milliseconds. */
export class History {
  #ids = new Map();
  #series = [];
  #byName = new Map();
  #samples = [];

  constructor(names, keep) {
    for (const name of names) for (const part of ["", "_bucket", "_sum", "_count"]) this.#byName.set(name + part, []);
    this.keep = keep;
  }

  get length() {
    return this.#samples.length;
  }

  /** Takes a scrape in; a counter that fell tells of a new process, of which nothing is known yet. */
  add(text, at) {
    const values = new Array(this.#series.length).fill(NaN);
    for (const line of text.split("\n")) {
      if (line === "" || line.startsWith("#")) continue;
      const cut = end(line);
      const id = this.#id(line.slice(0, cut));
      if (id !== undefined) values[id] = number(line.slice(cut).trim().split(/\s+/)[0]);
    }
    const last = this.#samples.at(-1)?.values ?? [];
    const restarted = this.#series.some(({ counts }, id) => counts && values[id] < last[id]);
    if (restarted) this.#samples = [];
    this.#samples.push({ at, values: Float64Array.from(values) });
    while (this.#samples[0].at < at - this.keep) this.#samples.shift();
    return restarted;
  }

  /** The number of a series; undefined for one that nobody wants. */
  #id(text) {
    if (!this.#ids.has(text)) {
      const { name, labels } = identity(text);
      const family = this.#byName.get(name);
      if (family) {
        this.#ids.set(text, this.#series.length);
        family.push(this.#series.length);
        this.#series.push({ labels, counts: /_(total|bucket|count)$/.test(name) });
      } else this.#ids.set(text, undefined);
    }
    return this.#ids.get(text);
  }

  /** Labels and number of the series of a name whose labels are as asked: values, or functions of them. */
  #select(name, where) {
    const fits = ([label, wanted], labels) =>
      typeof wanted === "function" ? wanted(labels[label]) : labels[label] === wanted;
    const asked = Object.entries(where);
    const ids = this.#byName.get(name) ?? [];
    return ids.filter((id) => asked.every((one) => fits(one, this.#series[id].labels)));
  }

  /** What the series that fit say now: pairs of labels and value. */
  values(name, where = {}) {
    const now = this.#samples.at(-1)?.values ?? [];
    const there = this.#select(name, where).filter((id) => !Number.isNaN(now[id] ?? NaN));
    return there.map((id) => [this.#series[id].labels, now[id]]);
  }

  /** Their sum; null when there is none. */
  value(name, where) {
    const found = this.values(name, where);
    return found.length ? found.reduce((sum, [, value]) => sum + value, 0) : null;
  }

  /** The sample that a window of milliseconds begins with: the oldest in it, or else the one before the newest. */
  #base(window) {
    const newest = this.#samples.at(-1);
    const older = this.#samples.slice(0, -1);
    return older.find(({ at }) => at >= newest.at - window) ?? older.at(-1);
  }

  /** How many seconds a window really covers; null before the second sample. */
  seconds(window) {
    const base = this.#base(window);
    return base ? (this.#samples.at(-1).at - base.at) / 1000 : null;
  }

  /** By how much the series rose in a window, added up by labels: a map of their values; null before the second sample. */
  increases(name, window, by, where = {}) {
    const base = this.#base(window);
    if (!base) return null;
    const now = this.#samples.at(-1).values;
    const sums = new Map();
    for (const id of this.#select(name, where)) {
      // A series that was not there began at 0.
      const rise = (now[id] || 0) - (base.values[id] || 0);
      const key = by.map((label) => this.#series[id].labels[label]).join(" ");
      sums.set(key, (sums.get(key) ?? 0) + rise);
    }
    return sums;
  }

  /** The same of all together; null also when there is no such series. */
  increase(name, window, where) {
    return this.increases(name, window, [], where)?.get("") ?? null;
  }

  rate(name, window, where) {
    const rise = this.increase(name, window, where);
    return rise === null ? null : rise / this.seconds(window);
  }

  quantile(q, name, window, where) {
    const counts = this.increases(`${name}_bucket`, window, ["le"], where);
    return counts && quantile(q, counts);
  }

  /** Of each group: how often, how long in all, and a quantile. */
  histograms(q, name, window, by) {
    const groups = new Map();
    const of = (key) => groups.get(key) ?? groups.set(key, { counts: new Map() }).get(key);
    for (const [key, rise] of this.increases(`${name}_bucket`, window, [...by, "le"]) ?? []) {
      const cut = key.lastIndexOf(" ");
      of(key.slice(0, cut)).counts.set(key.slice(cut + 1), rise);
    }
    for (const [key, sum] of this.increases(`${name}_sum`, window, by) ?? []) of(key).sum = sum;
    for (const group of groups.values()) {
      group.count = group.counts.get("+Inf") ?? 0;
      group.quantile = quantile(q, group.counts);
    }
    return groups;
  }
}
