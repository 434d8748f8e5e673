// Asks /metrics and /ready every two seconds and shows what they say. A figure that is not known is a dash.

import { History } from "./series.js";
import { ENOUGH, LIMITS, jobState, verdict } from "./verdict.js";

const POLL = 2_000;
const TIMEOUT = 5_000;
/** What figures are over. */
const WINDOW = 30_000;
/** What a point of a line is over. */
const POINT = 10_000;
const KEEP = 300_000;

const M = {
  requests: "dgm_http_requests_total",
  duration: "dgm_http_request_duration_seconds",
  inFlight: "dgm_http_requests_in_flight",
  lookups: "dgm_cache_requests_total",
  loads: "dgm_cache_load_duration_seconds",
  coalesced: "dgm_cache_coalesced_total",
  entries: "dgm_cache_entries",
  size: "dgm_cache_size_bytes",
  redis: "dgm_cache_redis_duration_seconds",
  redisUp: "dgm_cache_redis_up",
  feedAge: "dgm_cache_confirmed_age_seconds",
  statements: "dgm_db_statement_duration_seconds",
  statementErrors: "dgm_db_statement_errors_total",
  acquire: "dgm_db_pool_acquire_duration_seconds",
  pool: "dgm_db_pool_connections",
  poolMax: "dgm_db_pool_connections_max",
  live: "dgm_db_rows_live",
  dead: "dgm_db_rows_dead",
  xidAge: "dgm_db_xid_age",
  partitions: "dgm_partitions",
  oldest: "dgm_partition_oldest_timestamp_seconds",
  horizon: "dgm_partition_horizon_timestamp_seconds",
  missing: "dgm_partitions_missing",
  expired: "dgm_partitions_expired",
  detached: "dgm_partitions_detached",
  partitionBytes: "dgm_partitions_bytes",
  samples: "dgm_samples_ingested_total",
  jobRuns: "dgm_job_runs_total",
  jobRunning: "dgm_job_running",
  jobSuccess: "dgm_job_last_success_timestamp_seconds",
  jobInterval: "dgm_job_interval_seconds",
  improvements: "dgm_improvements",
  oldestQueued: "dgm_improvements_oldest_queued_timestamp_seconds",
  claimed: "dgm_improvements_claimed_total",
  finished: "dgm_improvements_finished_total",
  rescued: "dgm_leases_rescued_total",
  build: "dgm_build_info",
};
const prefix = "/api/v1/";
const api = { route: (route) => route === "unmatched" || route.startsWith(prefix) };
const server = { ...api, status: "5xx" };

const history = new History(Object.values(M), KEEP);
const lines = { traffic: [], errors: [], latency: [], saturation: [] };
/** When the page saw each job done by another replica, by the page's clock. */
const elsewhere = new Map();
const opened = performance.now();
let answer = { wall: null, at: null, unanswered: null };
let readiness = {};
/** What the verdict is from. */
let facts = {};

// ---- Words

const DASH = "–";
const UNIT = "\u00a0";
/** Of a positive figure as many digits as are worth reading, always as many, so that columns stand still. */
const digits = (value) => {
  if (value === 0) return "0";
  if (value < 0.005) return "<0.01";
  return value >= 99.5 ? Math.round(value).toLocaleString("en") : value.toFixed(value < 9.95 ? (value < 0.995 ? 2 : 1) : 0);
};
const known = (words) => (value) => (value === null || value === undefined || Number.isNaN(value) ? DASH : words(value));
const count = known((value) => Math.round(value).toLocaleString("en"));
const rate = known((value) => digits(value) + UNIT + "/s");
const share = known((value) => digits(100 * value) + UNIT + "%");
const time = known((value) => {
  if (value === Infinity) return `>10${UNIT}s`; // The last edge of the catalogue's latencies.
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

// ---- What the parts of the page say

// A text with a state is `[text, state]`.

/** Against a target, in words; nothing is said about what is not known. */
const target = (value, fits, under, over) =>
  value === null ? [`target: ${under}`, ""] : fits ? [`✓ ${under}`, "ok"] : [`✗ ${over}`, "bad"];

/** Of each pool of connections the most that it may have, and how many of them are in use. */
const poolsInUse = () =>
  history.values(M.poolMax).map(([{ pool }, most]) => ({ pool, most, used: history.value(M.pool, { pool, state: "used" }) }));

/** Above 0 it wants a look. */
const none = (value) => (value > 0 ? [`▲ ${count(value)}`, "warn"] : count(value));

function signals() {
  const h = history;
  const requests = h.increase(M.requests, WINDOW, api);
  const failed = h.increase(M.requests, WINDOW, server);
  const refused = h.increase(M.requests, WINDOW, { ...api, status: "4xx" });
  const [p50, p95, p99] = [0.5, 0.95, 0.99].map((q) => h.quantile(q, M.duration, WINDOW, api));
  const errors = requests > 0 ? failed / requests : null;
  // The one that is nearest to its end.
  const pools = poolsInUse().sort((a, b) => b.used / b.most - a.used / a.most || b.most - a.most);
  const [{ pool, used, most }] = pools.length ? pools : [{ pool: DASH, used: null, most: null }];
  const waits = [...h.histograms(0.99, M.acquire, WINDOW, ["pool"]).values()].map(({ quantile }) => quantile);
  const wait = waits.some((one) => one !== null) ? Math.max(...waits) : null;
  // This page's own request is under way while it is answered.
  const flight = h.value(M.inFlight);
  const recent = h.increase(M.requests, POINT, api);

  card("traffic", h.rate(M.requests, POINT, api), rate, {
    figure: rate(h.rate(M.requests, WINDOW, api)),
    beside: `${count(requests)} requests in ${Math.round(h.seconds(WINDOW) ?? 0)}${UNIT}s`,
    target: `client errors (4xx): ${share(requests > 0 ? refused / requests : null)}`,
  });
  card("errors", recent > 0 ? h.increase(M.requests, POINT, server) / recent : null, share, {
    figure: share(errors),
    beside: `${count(failed)} of ${count(requests)} answered 5xx`,
    target: target(errors, errors <= LIMITS.errors, "under 0.1 %", "over 0.1 %"),
  });
  const latest = h.quantile(0.95, M.duration, POINT, api);
  card("latency", latest === Infinity ? 10 : latest, time, {
    figure: time(p95),
    beside: `p50 ${time(p50)} · p99 ${time(p99)}`,
    target: target(p95, p95 <= LIMITS.p95, "under 100 ms", "over 100 ms"),
    bound: LIMITS.p95,
  });
  card("saturation", used === null ? null : used / most, share, {
    figure: [count(used), "of", count(most), pool].join(UNIT),
    beside: `${count(flight && flight - 1)} in flight · wait p99 ${time(wait)}`,
    target: target(used, used < most, "connections to spare", `${pool}: none to spare`),
  });
  return { requests, failed, p95 };
}

function routes() {
  const by = ["route", "method"];
  const of = (where) => history.increases(M.requests, WINDOW, by, { ...api, ...where }) ?? new Map();
  const [all, refused, failed] = [of({}), of({ status: "4xx" }), of({ status: "5xx" })];
  const times = history.histograms(0.95, M.duration, WINDOW, by);
  const busy = [...all].filter(([, rise]) => rise > 0).sort((a, b) => b[1] - a[1]);
  const rows = busy.slice(0, 12).map(([key, rise]) => {
    const [route, method] = key.split(" ");
    const errors = failed.get(key) ?? 0;
    const p95 = times.get(key)?.quantile ?? null;
    return [
      // Shorter, and broken after a slash where it must be.
      `${method} ${route.replace(prefix, "/").replace(/\{\w*_id\}/, "{id}").replaceAll("/", "/\u200b")}`,
      rate(rise / history.seconds(WINDOW)),
      p95 > LIMITS.p95 ? [`▲ ${time(p95)}`, "warn"] : time(p95),
      share((refused.get(key) ?? 0) / rise),
      errors > 0 ? [`✗ ${share(errors / rise)}`, "bad"] : share(0),
    ];
  });
  fill("routes", rows, history.length > 1 ? "No requests in the last 30 s" : DASH);
  put(at("#routes > p"), busy.length > 12 ? `and ${busy.length - 12} more` : "");
}

function cache() {
  const h = history;
  const lookups = (where) => h.increase(M.lookups, WINDOW, where);
  const [l1, l2] = ["l1", "l2"].map((tier) => ({ all: lookups({ tier }), hits: lookups({ tier, result: "hit" }) }));
  // Whatever misses in process is counted again in Redis.
  const all = { all: l1.all, hits: l1.hits === null ? null : l1.hits + l2.hits };
  const hits = ({ all, hits }) => (all > 0 ? hits / all : null);
  const row = (name, tier) => [name, share(hits(tier)), rate(tier.all === null ? null : tier.all / h.seconds(WINDOW))];
  const up = h.value(M.redisUp);
  fill("tiers", [row("in process", l1), ...(up === null ? [] : [row("Redis", l2)]), row("together", all)]);
  const judged = all.all >= ENOUGH ? hits(all) : null;
  const p95 = h.quantile(0.95, M.redis, WINDOW);
  const feedAge = h.value(M.feedAge);
  list("cache", [
    ["Hit rate", target(judged, judged > LIMITS.hits, "over 80 %", "under 80 %")],
    ["Loads", rate(h.rate(`${M.loads}_count`, WINDOW))],
    ["Coalesced", rate(h.rate(M.coalesced, WINDOW))],
    ["In process", `${count(h.value(M.entries, { tier: "l1" }))} entries, ${bytes(h.value(M.size, { tier: "l1" }))}`],
    ["Redis", up === null ? "not configured" : up > 0 ? ["✓ up", "ok"] : ["✗ down", "bad"]],
    ["Redis p95", p95 > LIMITS.redisP95 ? [`▲ ${time(p95)}, over 10 ms`, "warn"] : p95 ? [`✓ ${time(p95)}, under 10 ms`, "ok"] : DASH],
    ["Change feed asked", feedAge > LIMITS.feedAge ? [`✗ ${time(feedAge)} ago`, "bad"] : ago(time, feedAge)],
  ]);
  return { redisUp: up, feedAge };
}

function database() {
  const h = history;
  const times = [...h.histograms(0.95, M.statements, WINDOW, ["statement"])].filter(([, one]) => one.count > 0);
  times.sort(([, a], [, b]) => b.sum - a.sum);
  const seconds = h.seconds(WINDOW);
  const rows = times.slice(0, 8).map(([name, { sum, count, quantile }]) => [
    name,
    time(sum / seconds),
    rate(count / seconds),
    time(sum / count),
    time(quantile),
  ]);
  fill("statements", rows, h.length > 1 ? "No statements in the last 30 s" : DASH);
  const errors = h.increase(M.statementErrors, WINDOW);
  const xidAge = h.value(M.xidAge);
  list("database", [
    ["Pools", poolsInUse().map(({ pool, used, most }) => `${pool} ${count(used)} of ${count(most)}`).join(", ") || DASH],
    ["Failed statements", errors > 0 ? [`✗ ${count(errors)} in 30 s`, "bad"] : count(errors)],
    ["Dead rows", `${count(h.value(M.dead))} beside ${count(h.value(M.live))} live`],
    ["Transaction age", `${count(xidAge)}, ${share(xidAge === null ? null : xidAge / 2 ** 31)} of the limit`],
  ]);
  return { xidAge };
}

function partitions(now) {
  const h = history;
  const horizon = h.value(M.horizon);
  const days = horizon === null ? null : Math.floor((horizon - now) / 86_400);
  const made = `${date(horizon)}, in ${days} days`;
  list("partitions", [
    ["Attached", count(h.value(M.partitions))],
    ["Oldest", date(h.value(M.oldest) || null)],
    ["Made up to", days === null ? DASH : !horizon ? ["✗ none", "bad"] : days < LIMITS.horizonDays ? [`▲ ${made}`, "warn"] : made],
    ["Missing", none(h.value(M.missing))],
    ["Expired", none(h.value(M.expired))],
    ["Detached", none(h.value(M.detached))],
    ["Size", bytes(h.value(M.partitionBytes))],
    ["Samples stored", rate(h.rate(M.samples, WINDOW))],
  ]);
  return { horizonDays: days };
}

function jobs(now) {
  const h = history;
  const of = (name, job) => h.value(name, { job_name: job });
  const names = [...new Set([M.jobRuns, M.jobSuccess].flatMap((name) => h.values(name)).map(([labels]) => labels.job_name))].sort();
  const stale = [];
  const rows = names.map((job) => {
    const [success, interval] = [of(M.jobSuccess, job), of(M.jobInterval, job)];
    const runs = h.values(M.jobRuns, { job_name: job }).filter(([, runs]) => runs > 0);
    if (h.increase(M.jobRuns, POLL, { job_name: job, outcome: "skipped" }) > 0) elsewhere.set(job, performance.now());
    const since = success ? now - success : null;
    const watched = (performance.now() - (elsewhere.get(job) ?? opened)) / 1000;
    const outcomes = runs.map(([{ outcome }]) => outcome);
    const [state, late] = jobState({ since, interval, outcomes, watched, running: of(M.jobRunning, job) > 0 });
    if (late) stale.push(job);
    return [
      job,
      ago(age, since),
      age(interval),
      runs.map(([{ outcome }, runs]) => `${count(runs)} ${outcome}`).join(", ") || "0",
      state,
    ];
  });
  fill("jobs", rows, DASH);
  return { stale };
}

function queue(now) {
  const h = history;
  const since = h.value(M.oldestQueued);
  const finished = (outcome) => rate(h.rate(M.finished, WINDOW, { outcome }));
  const rescued = h.values(M.rescued).map(([{ outcome }, rescued]) => `${count(rescued)} ${outcome}`);
  list("queue", [
    ["Queued", count(h.value(M.improvements, { state: "queued" }))],
    ["Running", count(h.value(M.improvements, { state: "running" }))],
    ["Oldest queued", since === 0 ? "none waits" : ago(age, since === null ? null : now - since)],
    ["Claimed", rate(h.rate(M.claimed, WINDOW))],
    ["Completed", finished("completed")],
    ["Failed", finished("failed")],
    ["Cancelled", finished("cancelled")],
    ["Rescued", rescued.sort().reverse().join(", ") || DASH],
  ]);
}

function build() {
  const [{ version, revision, rustc }] = history.values(M.build)[0] ?? [{}];
  list("build", [
    ["Version", version ?? DASH],
    ["Revision", revision ?? DASH],
    ["Compiler", rustc?.replace(/ \(.*/, "") ?? DASH],
    ["Schema", count(readiness.schema)],
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
function card(name, point, words, { figure, beside, target, bound }) {
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

const SIGNS = { ok: "✓", degraded: "▲", failing: "✗" };

function judge() {
  const { state, reasons } = verdict({ ...facts, unanswered: answer.unanswered, unready: readiness.unready });
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

function show(now) {
  facts = { ...signals(), ...cache(), ...database(), ...partitions(now), ...jobs(now) };
  routes();
  queue(now);
  build();
}

// ---- The clock

const ask = (path) => fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT) });

/** The exposition; null when there is none. */
async function scrape() {
  try {
    const response = await ask("metrics");
    const text = await response.text();
    if (!response.ok) throw new Error(`it answers ${response.status}`);
    // By the server's clock, whose times the figures are.
    const wall = Date.parse(response.headers.get("date")) || Date.now();
    answer = { wall, at: new Date(), unanswered: null };
    return text;
  } catch {
    answer.unanswered = `The service does not answer${answer.at ? `; the figures are from ${clock(answer.at)}` : ""}.`;
    return null;
  }
}

async function probe() {
  try {
    const response = await ask("ready");
    const said = await response.json();
    readiness = { schema: said.schema_version ?? readiness.schema, unready: response.ok ? null : said.detail };
  } catch {
    // Whether the process answers at all is the scrape's matter.
    readiness.unready = "the database does not answer in time";
  }
}

at("#host").textContent = location.host;
let timer;
let busy = false;
let paused = false;

async function tick() {
  clearTimeout(timer);
  if (busy || paused || document.hidden) return;
  busy = true;
  try {
    const text = await scrape();
    if (text !== null) {
      if (history.add(text, performance.now())) for (const line of Object.values(lines)) line.length = 0;
      show(answer.wall / 1000);
      await probe();
    }
    judge();
    at("main").classList.toggle("old", answer.unanswered !== null);
    at("#clock").textContent = answer.at ? `${answer.unanswered ? "last answer" : "as of"} ${clock(answer.at)}` : "no answer yet";
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
