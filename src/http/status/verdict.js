// The headline: from what is known to a state and reasons. The words hold no figure that changes by the second, since a
// screen reader reads the verdict whenever they change.

export const LIMITS = {
  errors: 0.001,
  errorsFailing: 0.05,
  p95: 0.1,
  redisP95: 0.01,
  hits: 0.8,
  feedAge: 4,
  horizonDays: 28,
  xidAge: 1e9,
};
/** Fewer requests than these say little of a share or of a quantile. */
export const ENOUGH = 20;

/** What is said of a job, and whether it is stale: two of its occurrences and a minute passed since its last success. */
export function jobState({ since, interval, outcomes, watched, running }) {
  const patience = 2 * interval + 60;
  const late = interval !== null && since > patience;
  // Others may have done what was skipped here: it is stale when none was seen at it for as long.
  const stale = late && (!outcomes.includes("skipped") || watched > patience);
  const failed = outcomes.some((outcome) => outcome === "failure" || outcome === "timeout");
  if (running) return ["▶ running now", stale];
  if (since === null) return [failed ? ["✗ not once done here", "bad"] : "not yet here", false];
  if (stale) return [["▲ stale", "warn"], true];
  if (late) return ["by another replica", false];
  return [interval === null ? "–" : ["✓ in time", "ok"], false];
}

/** State (`ok`, `degraded`, `failing`) and reasons, the gravest first. */
export function verdict(facts) {
  if (facts.unanswered) return { state: "failing", reasons: [facts.unanswered] };
  const { requests, failed, p95, horizonDays, stale, xidAge } = facts;
  const share = requests > 0 ? failed / requests : 0;
  const failing = [
    facts.unready && `Not ready: ${facts.unready}.`,
    share > LIMITS.errorsFailing && requests >= ENOUGH && "More than 5 % of requests fail.",
  ];
  const degraded = [
    facts.redisUp === 0 && "Redis does not answer: reads are slower, and still correct.",
    facts.feedAge > LIMITS.feedAge && "The change feed is not confirmed: the cache is passed by.",
    share > LIMITS.errors && !failing[1] && "More than 0.1 % of requests fail.",
    p95 > LIMITS.p95 && requests >= ENOUGH && "The p95 latency is above 100 ms.",
    horizonDays !== null && horizonDays < LIMITS.horizonDays && "Partitions are made for less than 28 days ahead.",
    stale.length > 0 && `No success in time of ${stale.length > 1 ? "jobs" : "job"} ${stale.join(", ")}.`,
    xidAge > LIMITS.xidAge && "VACUUM does not freeze: more than a billion transactions are open to wraparound.",
  ];
  const found = [failing, degraded].map((reasons) => reasons.filter(Boolean));
  const state = found[0].length ? "failing" : found[1].length ? "degraded" : "ok";
  return { state, reasons: found.flat() };
}
