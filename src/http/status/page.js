// Asks for /status.json every two seconds and shows it. A figure that is not known is a dash.

const POLL = 2_000;
const TIMEOUT = 5_000;
/** How far back the lines go. */
const KEEP = 300_000;
/** Routes that are listed. */
const ROUTES = 12;

const lines = { traffic: [], errors: [], latency: [], saturation: [] };

// ---- Words

const DASH = "–";
const UNIT = "\u00a0";
const SIGNS = { ok: "✓", warn: "▲", degraded: "▲", bad: "✗", failing: "✗" };
/** Of a positive figure as many digits as are worth reading, always as many, so that columns stand still. */
const digits = (value) => {
  if (value === 0) return "0";
  if (value < 0.005) return "<0.01";
  return value >= 99.5 ? Math.round(value).toLocaleString("en") : value.toFixed(value < 9.95 ? (value < 0.995 ? 2 : 1) : 0);
};
const known = (words) => (value) => (value === null || value === undefined ? DASH : words(value));
const count = known((value) => Math.round(value).toLocaleString("en"));
const rate = known((value) => digits(value) + UNIT + "/s");
const share = known((value) => digits(100 * value) + UNIT + "%");
const time = known((value) => {
  const [factor, unit] = value >= 1 ? [1, "s"] : value >= 0.0001 ? [1e3, "ms"] : [1e6, "µs"];
  return digits(value * factor) + UNIT + unit;
});
const bytes = known((value) => {
  const power = Math.min(4, Math.floor(Math.log2(Math.max(1, value)) / 10));
  return digits(value / 1024 ** power) + UNIT + ["B", "KiB", "MiB", "GiB", "TiB"][power];
});
const age = known((value) => {
  const [size, unit] = [[86_400, "d"], [3_600, "h"], [60, "min"]].find(([size]) => value >= size) ?? [1, "s"];
  return Math.max(0, Math.floor(value / size)) + UNIT + unit;
});
const ago = (words, value) => (value === null ? DASH : `${words(value)} ago`);
const date = known((value) => new Date(value * 1000).toISOString().slice(0, 10));
const clock = (at) => at.toLocaleTimeString("en-GB");
const pool = ({ name, used, most }) => [count(used), "of", count(most), name];
const outcomes = (counts) => Object.entries(counts).map(([outcome, times]) => `${count(times)} ${outcome}`).join(", ");

// ---- What the parts of the page say

// A text with a state is `[text, state]`.

/** A text, with the sign of a mark if there is one. */
const marked = (mark, text) => (mark ? [`${SIGNS[mark]} ${text}`, mark] : [text, ""]);
const note = ({ mark, text }) => marked(mark, text || DASH);
/** Above 0 it wants a look. */
const none = (value) => marked(value > 0 ? "warn" : null, count(value));

function signals({ signals: { traffic, errors, latency, saturation }, seconds, longest }) {
  const quantile = known((value) => (value >= longest ? `>${time(longest)}` : time(value)));
  card("traffic", traffic, rate, rate(traffic.rate), [
    `${count(traffic.requests)} requests in ${Math.round(seconds ?? 0)}${UNIT}s`,
    `client errors (4xx): ${share(traffic.refused)}`,
  ]);
  card("errors", errors, share, share(errors.share), [
    `${count(errors.failed)} of ${count(errors.requests)} answered 5xx`,
    note(errors.target),
  ]);
  card("latency", latency, quantile, quantile(latency.p95), [
    `p50 ${quantile(latency.p50)} · p99 ${quantile(latency.p99)}`,
    note(latency.target),
  ]);
  card("saturation", saturation, share, pool(saturation.pool ?? { name: DASH, used: null, most: null }).join(UNIT), [
    `${count(saturation.in_flight)} in flight · wait p99 ${quantile(saturation.wait)}`,
    note(saturation.target),
  ]);
  return quantile;
}

function show(status) {
  const { routes, statements, database, cache, partitions, queue, jobs, build, seconds } = status;
  const quantile = signals(status);
  const idle = (what) => (seconds === null ? DASH : `No ${what} in the last 30 s`);
  fill("routes", routes.slice(0, ROUTES).map((one) => [
    // Shorter, and broken after a slash where it must be.
    `${one.method} ${one.route.replace("/api/v1/", "/").replace(/\{\w*_id\}/, "{id}").replaceAll("/", "/\u200b")}`,
    rate(one.rate),
    marked(one.slow, quantile(one.p95)),
    share(one.refused),
    marked(one.failed > 0 ? "bad" : null, share(one.failed)),
  ]), idle("requests"));
  put(at("#routes > p"), routes.length > ROUTES ? `and ${routes.length - ROUTES} more` : "");
  fill("statements", statements.map(({ name, busy, rate: runs, mean, p95 }) =>
    [name, time(busy), rate(runs), time(mean), quantile(p95)]), idle("statements"));
  const failed = database.failed_statements;
  list("database", [
    ["Pools", database.pools.map(({ name, used, most }) => `${name} ${count(used)} of ${count(most)}`).join(", ") || DASH],
    ["Failed statements", failed > 0 ? marked("bad", `${count(failed)} in 30 s`) : count(failed)],
    ["Dead rows", `${count(database.dead_rows)} beside ${count(database.live_rows)} live`],
    ["Transaction age", `${count(database.xid_age)}, ${share(database.xid_share)} of the limit`],
  ]);
  fill("tiers", cache.tiers.map((tier) => [tier.name, share(tier.hits), rate(tier.rate)]), DASH);
  list("cache", [
    ["Hit rate", note(cache.hit_rate)],
    ["Loads", rate(cache.loads)],
    ["Coalesced", rate(cache.coalesced)],
    ["In process", `${count(cache.entries)} entries, ${bytes(cache.bytes)}`],
    ["Redis", cache.redis_up === null ? "not configured" : cache.redis_up ? marked("ok", "up") : marked("bad", "down")],
    ["Redis p95", cache.redis ? marked(cache.redis.mark, `${quantile(cache.redis_p95)}, ${cache.redis.text}`) : DASH],
    ["Change feed asked", marked(cache.feed, ago(time, cache.feed_age))],
  ]);
  const horizon = `${date(partitions.horizon)}, in ${partitions.horizon_days} days`;
  list("partitions", [
    ["Attached", count(partitions.attached)],
    ["Oldest", date(partitions.oldest)],
    ["Made up to", partitions.horizon === null ? DASH : marked(partitions.horizon_mark, partitions.horizon ? horizon : "none")],
    ["Missing", none(partitions.missing)],
    ["Expired", none(partitions.expired)],
    ["Detached", none(partitions.detached)],
    ["Size", bytes(partitions.bytes)],
    ["Samples stored", rate(partitions.stored)],
  ]);
  list("queue", [
    ["Queued", count(queue.queued)],
    ["Running", count(queue.running)],
    ["Oldest queued", queue.oldest === 0 ? "none waits" : ago(age, queue.oldest)],
    ["Claimed", rate(queue.claimed)],
    ["Completed", rate(queue.completed)],
    ["Failed", rate(queue.failed)],
    ["Cancelled", rate(queue.cancelled)],
    ["Rescued", outcomes(queue.rescued) || DASH],
  ]);
  fill("jobs", jobs.map((job) =>
    [job.name, ago(age, job.since), age(job.interval), outcomes(job.runs) || "0", note(job.state)]), DASH);
  list("build", [
    ["Version", build.version ?? DASH],
    ["Revision", build.revision ?? DASH],
    ["Compiler", build.rustc?.replace(/ \(.*/, "") ?? DASH],
    ["Schema", count(status.schema_version)],
  ]);
}

// ---- The page

const at = (selector) => document.querySelector(selector);

function put(node, text) {
  const [words, state] = Array.isArray(text) ? text : [text, ""];
  if (node.dataset.state !== state) node.dataset.state = state;
  if (node.textContent === words) return;
  node.textContent = words;
  if (node.className === "big" && words.includes(UNIT)) {
    const [figure, ...unit] = words.split(UNIT);
    const small = Object.assign(document.createElement("small"), { textContent: UNIT + unit.join(UNIT) });
    node.replaceChildren(figure, small);
  }
}

/** A list of names and texts. */
function list(name, pairs) {
  const list = at(`[data-list=${name}]`);
  pairs.forEach(([term, text], place) => {
    if (!list.children[place]) {
      const row = list.appendChild(document.createElement("div"));
      row.append(Object.assign(document.createElement("dt"), { textContent: term }), document.createElement("dd"));
    }
    put(list.children[place].lastChild, text);
  });
}

/** Rows of texts; the nodes stay, so that what is marked or read stays too. */
function fill(name, rows, empty) {
  const body = at(`[data-rows=${name}]`);
  const heads = body.parentNode.tHead.rows[0].cells;
  // One that can be scrolled must be reached by the keyboard.
  const frame = body.parentNode.parentNode;
  frame.tabIndex = frame.scrollWidth > frame.clientWidth ? 0 : -1;
  const wanted = rows.length ? rows : [[empty, ...Array.from(heads).slice(1).fill(DASH)]];
  while (body.rows.length > wanted.length) body.deleteRow(-1);
  wanted.forEach((texts, index) => {
    const row = body.rows[index] ?? body.insertRow();
    texts.forEach((text, place) => {
      let cell = row.cells[place];
      if (!cell) {
        cell = row.appendChild(document.createElement(place ? "td" : "th"));
        if (!place) cell.scope = "row";
        cell.className = heads[place].className;
      }
      put(cell, text);
    });
  });
}

/** A card's texts, and its line with a new point. */
function card(name, { point, bound }, words, figure, [beside, target]) {
  const [now, line] = [performance.now(), lines[name]];
  if (point !== null) line.push([now, point]);
  while (line.length && line[0][0] < now - KEEP) line.shift();
  const part = (kind) => at(`#${name} .${kind}`);
  put(part("big"), figure);
  put(part("beside"), beside);
  put(part("target"), target);
  put(part("peak"), line.length ? `peak ${words(Math.max(...line.map(([, value]) => value)))}` : DASH);
  draw(at(`#${name} svg`), line, now, bound);
}

const [WIDTH, HEIGHT, SPAN] = [300, 44, 60_000];

/** A line over the time that is known, of at least a minute; dashed, the bound, when it is within reach. */
function draw(svg, points, now, bound) {
  const span = Math.max(SPAN, now - (points[0]?.[0] ?? now));
  const top = 1.15 * Math.max(0, ...points.map(([, value]) => value)) || 1;
  const x = (when) => (WIDTH * (1 - (now - when) / span)).toFixed(1);
  const y = (value) => (HEIGHT - 1 - ((HEIGHT - 2) * value) / top).toFixed(1);
  let [path, area, last] = ["", "", -Infinity];
  for (const [when, value] of points) {
    const goesOn = when - last <= 3 * POLL;
    path += `${goesOn ? "L" : "M"}${x(when)} ${y(value)}`;
    area += `${goesOn ? "" : `${area && `V${HEIGHT}Z`}M${x(when)} ${HEIGHT}`}L${x(when)} ${y(value)}`;
    last = when;
  }
  const shapes = { area: area && `${area}V${HEIGHT}Z`, bound: path && bound <= top ? `M0 ${y(bound)}H${WIDTH}` : "", line: path };
  for (const [kind, shape] of Object.entries(shapes)) svg.querySelector(`.${kind}`).setAttribute("d", shape);
}

function judge(state, reasons) {
  const words = reasons.length ? reasons : ["All that is watched is within its bounds."];
  const box = at("#verdict");
  // Touched only when it changes, since it is read aloud then.
  if (box.dataset.state !== state || box.dataset.reasons !== words.join()) {
    box.dataset.state = state;
    box.dataset.reasons = words.join();
    box.querySelector(".sign").textContent = SIGNS[state];
    box.querySelector("h2").textContent = state;
    box.querySelector("ul").replaceChildren(
      ...words.map((reason) => Object.assign(document.createElement("li"), { textContent: reason })),
    );
    document.title = `${SIGNS[state]} ${state} · dgm status`;
  }
}

// ---- The clock

at("#host").textContent = location.host;
let timer;
let busy = false;
let paused = false;
/** The last document, and when it came. */
let last = null;

/** The document; null when the service does not answer. */
async function ask() {
  try {
    const response = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}

async function tick() {
  clearTimeout(timer);
  if (busy || paused || document.hidden) return;
  busy = true;
  try {
    const status = await ask();
    if (status) {
      // Another process: nothing is known about the time before.
      if (last && status.started !== last.started) for (const line of Object.values(lines)) line.length = 0;
      status.schema_version ??= last?.schema_version;
      last = { ...status, at: clock(new Date()) };
      show(status);
      judge(status.state, status.reasons);
    } else judge("failing", [`The service does not answer${last ? `; the figures are from ${last.at}` : ""}.`]);
    at("main").classList.toggle("old", !status);
    at("#clock").textContent = last ? `${status ? "as of" : "last answer"} ${last.at}` : "no answer yet";
  } finally {
    busy = false;
    timer = setTimeout(tick, POLL);
  }
}

at("#pause").addEventListener("click", ({ target: button }) => {
  paused = !paused;
  button.textContent = paused ? "Resume" : "Pause";
  tick();
});
document.addEventListener("visibilitychange", tick);
tick();
