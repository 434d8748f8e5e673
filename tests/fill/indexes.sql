-- What the indexes are for: each statement with its index, and without it (dropped in a transaction that is rolled back).
-- After archive.sql, samples.sql and vacuum.sql: psql -f tests/fill/indexes.sql. The table in docs/OPERATIONS.md is of it.
\set QUIET on
\pset tuples_only on
SET jit = off;
SET random_page_cost = 1.1;
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.evidence(index text, statement text) RETURNS TABLE (line text) LANGUAGE plpgsql AS $$
DECLARE
    plan json;
    kind text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['with', 'without'] LOOP
        BEGIN
            IF kind = 'without' THEN EXECUTE 'DROP INDEX ' || index; END IF;
            -- Twice: the second finds its pages in memory.
            EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) ' || statement INTO plan;
            EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT json) ' || statement INTO plan;
            line := format('| `%s` | %s | %s ms | %s |', index, kind, round((plan -> 0 ->> 'Execution Time')::numeric, 2),
                (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::bigint + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::bigint);
            RAISE EXCEPTION 'undo' USING ERRCODE = 'UNDO0';
        EXCEPTION WHEN SQLSTATE 'UNDO0' THEN NULL;
        END;
        RETURN NEXT;
    END LOOP;
END $$;
SELECT * FROM pg_temp.evidence('idx_dgm_archive_composite_perf',
    $$SELECT * FROM dgm_archive WHERE service_name = 'service-03' AND status = 'active'
      ORDER BY accuracy_score DESC, created_at DESC, archive_entry_id DESC LIMIT 51$$);
SELECT * FROM pg_temp.evidence('idx_dgm_archive_service_created',
    $$SELECT * FROM dgm_archive WHERE service_name = 'service-03' ORDER BY created_at DESC, archive_entry_id DESC LIMIT 51$$);
SELECT * FROM pg_temp.evidence('idx_dgm_archive_service_generation',
    $$SELECT count(*), avg(accuracy_score) FROM dgm_archive WHERE service_name = 'service-03'$$);
SELECT * FROM pg_temp.evidence('idx_dgm_archive_parent',
    $$SELECT archive_entry_id FROM dgm_archive WHERE parent_entry_id = '00000000-0000-7000-8000-000000000061'$$);
SELECT * FROM pg_temp.evidence('idx_dgm_archive_metrics_gin',
    $$SELECT archive_entry_id FROM dgm_archive WHERE performance_metrics @> '{"rare": "needle"}'$$);
SELECT * FROM pg_temp.evidence('idx_dgm_improvements_claimable',
    $$SELECT id FROM dgm_improvements WHERE (status = 'queued') IS TRUE AND available_at <= now()
      ORDER BY priority_rank, created_at, id FOR UPDATE SKIP LOCKED LIMIT 1$$);
SELECT * FROM pg_temp.evidence('idx_dgm_performance_metrics_series',
    $$SELECT avg(metric_value) FROM dgm_performance_metrics WHERE service_name = 'service-03' AND metric_type = 'tokens'
      AND measurement_timestamp >= now() - interval '1 day' AND measurement_timestamp < now()$$);
