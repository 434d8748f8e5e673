-- Fills an empty migrated database: archive, inspirations, score history, improvements, events. Needs a superuser
-- (session_replication_role). Sizes: SET fill.archive / fill.improvements / fill.queued / fill.running / fill.events.
--
-- What it makes (n = 0 .. archive-1, by rising created_at over the last 365 days):
--   id        archive_entry_id = '00000000-0000-7000-8000-' || lpad(n, 12, '0')
--   service   n % 50 < 11: 'big' (22 %); else 'service-00' .. 'service-18'
--   lineage   'big' has one root (n = 0), everything else of it descends from that root, generations 0..300, so that a
--             late entry has ~300 ancestors; the others have 3 roots and 20..200 generations. The first 4,000 entries of
--             'big' after the root are also its children (a wide parent), of generation 1.
--   metrics   {"accuracy","latency_ms","cost_usd","language" (5 values),"batch" (1,000 rows each)}; every 5,003rd entry
--             (n % 5003 = 7) has "rare": "needle" too
--   status    90 % active, 5 % failed (half of them with score 0), 5 % archived; 20 % have compliance 1
-- State left: no rows in dgm_archive_changes and dgm_archive_access (as if pruned / never read), the epoch unchanged;
-- score history for entries of version 2 (n % 500 = 3); three events each for the youngest finished improvements, one or
-- two for the queued and running ones, none for older ones (as if pruned). All foreign keys hold (by construction).
SET client_min_messages = warning;
SET session_replication_role = replica;
SET synchronous_commit = off;
SET maintenance_work_mem = '512MB';
SET jit = off;
DO 'BEGIN PERFORM setseed(0.42); END';

-- Secondary indexes are dropped and built again at the end by their own definitions: a sorted build is ~5 times faster.
CREATE TEMP TABLE fill_indexes AS
SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index i
WHERE i.indrelid IN ('dgm_archive'::regclass, 'dgm_archive_inspirations'::regclass, 'dgm_improvements'::regclass,
                     'dgm_improvement_events'::regclass)
  AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid);
DO $$
DECLARE i record;
BEGIN
    FOR i IN SELECT * FROM fill_indexes LOOP EXECUTE 'DROP INDEX ' || i.name; END LOOP;
END $$;

INSERT INTO dgm_archive (archive_entry_id, parent_entry_id, generation_number, service_name, problem_statement,
    solution_patch, performance_metrics, accuracy_score, constitutional_compliance_score, evaluation_results, status,
    version, create_digest, created_at, updated_at)
SELECT '00000000-0000-7000-8000-' || lpad(n::text, 12, '0'),
    CASE WHEN g > 0 THEN '00000000-0000-7000-8000-' || lpad((
        CASE WHEN k < 0 THEN p / 11 * 50 + p % 11 ELSE p / c * 50 + 11 + k + 19 * (p % c) END)::text, 12, '0') END,
    g, CASE WHEN k < 0 THEN 'big' ELSE 'service-' || lpad(k::text, 2, '0') END,
    'Improve ' || CASE n % 4 WHEN 0 THEN 'the retry policy' WHEN 1 THEN 'tool use' WHEN 2 THEN 'patch validation'
        ELSE 'context handling' END || ' of the coding agent: task ' || n || ' fails in the evaluation suite, see log',
    CASE WHEN n % 16 > 0 THEN 'diff --git a/agent.py b/agent.py' || chr(10)
        || repeat('+    attempt = plan(' || n || ')' || chr(10), 3 + (n % 7)::int) END,
    ('{"accuracy":' || accuracy || ',"latency_ms":' || (50 + 450 * r5)::int || ',"cost_usd":' || round(r4::numeric, 3)
        || ',"language":"' || CASE n / 50 % 5 WHEN 0 THEN 'rust' WHEN 1 THEN 'python' WHEN 2 THEN 'go' WHEN 3 THEN 'c'
        ELSE 'java' END || '","batch":' || n / 1000 || CASE WHEN n % 5003 = 7 THEN ',"rare":"needle"}' ELSE '}' END
    )::jsonb,
    accuracy, CASE WHEN r6 < 0.2 THEN 1 ELSE round((0.7 + 0.3 * r5)::numeric, 4) END,
    CASE WHEN n % 10 = 0 THEN '{"suite":"swe-bench","passed":true}'::jsonb END,
    CASE WHEN r3 < 0.90 THEN 'active' WHEN r3 < 0.95 THEN 'failed' ELSE 'archived' END,
    CASE WHEN n % 500 = 3 THEN 2 ELSE 1 END, sha256(int8send(n)), at, at
FROM (
    SELECT *, CASE WHEN g <= 1 THEN (roots * r1)::bigint % roots
                   WHEN g = 2 THEN roots + floor(wide * r1 * r1 * r1)::bigint
                   ELSE roots + wide + (g - 3)::bigint * w + floor(w * r1 * r1 * r1)::bigint END AS p,
        CASE WHEN r3 >= 0.925 AND r3 < 0.95 THEN 0.0000
             ELSE round(least(1, greatest(0, 0.15 + 0.6 * g / depth + 0.25 * (r2 + r4 - 1)))::numeric, 4) END AS accuracy
    FROM (
        SELECT *, CASE WHEN j < roots THEN 0 WHEN j < roots + wide THEN 1
                       ELSE 2 + ((j - roots - wide) / w)::int END AS g,
            random() AS r1, random() AS r2, random() AS r3, random() AS r4, random() AS r5, random() AS r6
        FROM (
            SELECT *, greatest(1, ceil((blocks * c - roots - wide)::numeric / (depth - 1)))::bigint AS w
            FROM (
                SELECT n, k, c, blocks, CASE WHEN k < 0 THEN n / 50 * 11 + n % 50 ELSE n / 50 * c + (n % 50 - 11) / 19 END AS j,
                    CASE WHEN k < 0 THEN 1 ELSE 3 END AS roots, CASE WHEN k < 0 THEN least(4000, blocks) ELSE 10 END AS wide, CASE WHEN k < 0 THEN 300 ELSE 20 + 10 * k END AS depth,
                    now() - interval '365 days' + interval '365 days' * ((n + 0.5) / total) AS at
                FROM (
                    SELECT n, total, (total + 49) / 50 AS blocks, CASE WHEN n % 50 < 11 THEN -1 ELSE (n % 50 - 11) % 19 END::int AS k,
                        CASE WHEN n % 50 < 11 THEN 11 WHEN (n % 50 - 11) % 19 = 0 THEN 3 ELSE 2 END AS c
                    FROM coalesce(current_setting('fill.archive', true), '1000000') AS given,
                        CAST(coalesce(nullif(given, ''), '1000000') AS bigint) AS total, generate_series(0, total - 1) AS n
                ) a
            ) b
        ) c
        OFFSET 0
    ) d
    OFFSET 0
) e;

INSERT INTO dgm_archive_score_history (archive_entry_id, version, accuracy_score, constitutional_compliance_score, replaced_at)
SELECT archive_entry_id, 1, round(accuracy_score * 0.9, 4), constitutional_compliance_score, created_at
FROM dgm_archive WHERE version = 2;

-- From the entry 50 before: of the same service.
INSERT INTO dgm_archive_inspirations (archive_entry_id, inspiration_entry_id, kind)
SELECT '00000000-0000-7000-8000-' || lpad(n::text, 12, '0'), '00000000-0000-7000-8000-' || lpad((n - 50 * i)::text, 12, '0'),
    CASE i WHEN 1 THEN 'inspiration' WHEN 2 THEN 'archive' ELSE 'top_k' END
FROM generate_series(200, (SELECT count(*) FROM dgm_archive) - 1, 199) AS n, generate_series(1, 1 + (n % 3)::int) AS i;

-- Finished ones over the last year, one for each archive entry (and again from the first when there are more).
INSERT INTO dgm_improvements (improvement_id, service_name, parent_entry_id, problem_statement, priority, status, progress,
    constitutional_constraints, performance_metrics, results, archive_entry_id, error_message, worker, lease_token,
    heartbeat_at, attempts, available_at, create_digest, started_at, completed_at, created_at)
SELECT '00000000-0000-7000-9000-' || lpad(i::text, 12, '0'),
    CASE WHEN n % 50 < 11 THEN 'big' ELSE 'service-' || lpad(((n % 50 - 11) % 19)::text, 2, '0') END,
    CASE WHEN n >= 50 THEN '00000000-0000-7000-8000-' || lpad((n - 50)::text, 12, '0') END,
    'Improve tool use of the coding agent: task ' || i,
    CASE WHEN r1 < 0.1 THEN 'critical' WHEN r1 < 0.3 THEN 'high' WHEN r1 < 0.8 THEN 'medium' ELSE 'low' END,
    status, CASE status WHEN 'completed' THEN 100 ELSE 40 END, NULL, '{"accuracy":0.5}',
    CASE status WHEN 'completed' THEN '{"accuracy":0.55}'::jsonb END,
    CASE status WHEN 'completed' THEN '00000000-0000-7000-8000-' || lpad(n::text, 12, '0') END,
    CASE status WHEN 'failed' THEN 'evaluation timed out' END, 'worker-' || i % 64,
    CASE WHEN status <> 'cancelled' THEN gen_random_uuid() END, at + interval '9 minutes', 1, at, sha256(int8send(i)),
    at + interval '1 minute', at + interval '10 minutes', at
FROM (
    SELECT i, i % entries AS n, random() AS r1,
        CASE WHEN i * 7919 / 50 % 100 < 90 THEN 'completed' WHEN i * 7919 / 50 % 100 < 97 THEN 'failed' ELSE 'cancelled' END AS status,
        now() - interval '365 days' + interval '364 days' * (i::float8 / total) AS at
    FROM coalesce(current_setting('fill.improvements', true), '1000000') AS given,
        CAST(coalesce(nullif(given, ''), '1000000') AS bigint) AS total, (SELECT count(*) AS entries FROM dgm_archive) e,
        generate_series(0, total - 1) AS i
    OFFSET 0
) f;

-- Queued over the last two days, a twentieth of them backing off; running for at most a quarter of an hour, a
-- twenty-fifth of them with an expired lease.
INSERT INTO dgm_improvements (improvement_id, service_name, problem_statement, priority, status, progress, performance_metrics,
    worker, lease_token, lease_expires_at, heartbeat_at, attempts, available_at, create_digest, started_at, created_at)
SELECT CASE WHEN running THEN '00000000-0000-7000-b000-' ELSE '00000000-0000-7000-a000-' END || lpad(i::text, 12, '0'),
    CASE WHEN i % 50 < 11 THEN 'big' ELSE 'service-' || lpad(((i % 50 - 11) % 19)::text, 2, '0') END,
    'Improve tool use of the coding agent: waiting task ' || i,
    CASE WHEN r1 < 0.1 THEN 'critical' WHEN r1 < 0.3 THEN 'high' WHEN r1 < 0.8 THEN 'medium' ELSE 'low' END,
    CASE WHEN running THEN 'running' ELSE 'queued' END, 0, '{"accuracy":0.5}',
    CASE WHEN running THEN 'worker-' || i % 64 END, CASE WHEN running THEN gen_random_uuid() END,
    CASE WHEN running THEN now() + CASE WHEN i % 25 = 0 THEN interval '-1 minute' ELSE interval '1 hour' END END,
    CASE WHEN running THEN now() END, running::int,
    CASE WHEN NOT running AND i % 20 = 0 THEN now() + interval '1 hour' ELSE at END, sha256(int8send(-i)),
    CASE WHEN running THEN now() - interval '15 minutes' * r2 END, at
FROM (
    SELECT running, i, random() AS r1, random() AS r2, now() - interval '2 days' + interval '47 hours' * (i::float8 / total) AS at
    FROM (VALUES (false, coalesce(nullif(current_setting('fill.queued', true), ''), '10000')::bigint),
                 (true, coalesce(nullif(current_setting('fill.running', true), ''), '500')::bigint)) AS wanted (running, total),
        generate_series(0, total - 1) AS i
    OFFSET 0
) q;

INSERT INTO dgm_improvement_events (improvement_id, service_name, event, data, occurred_at)
SELECT improvement_id, service_name, event, jsonb_build_object('status', status, 'progress', progress, 'progress_message', NULL, 'worker', worker,
    'attempts', attempts, 'error_message', error_message, 'archive_entry_id', archive_entry_id), at
FROM (
    SELECT i.*, e.event, e.at FROM dgm_improvements i, LATERAL (
        SELECT 'queued' AS event, i.created_at AS at
        UNION ALL SELECT 'running', i.started_at WHERE i.started_at IS NOT NULL
        UNION ALL SELECT i.status, i.completed_at WHERE i.completed_at IS NOT NULL) e
    WHERE i.status IN ('queued', 'running') OR i.improvement_id >= '00000000-0000-7000-9000-' || lpad((
        coalesce(nullif(current_setting('fill.improvements', true), ''), '1000000')::bigint
        - coalesce(nullif(current_setting('fill.events', true), ''), '300000')::bigint / 3)::text, 12, '0')
    ORDER BY e.at
) s;

DO $$
DECLARE i record;
BEGIN
    FOR i IN SELECT * FROM fill_indexes LOOP EXECUTE i.definition; END LOOP;
END $$;
DROP TABLE fill_indexes;
RESET session_replication_role;
