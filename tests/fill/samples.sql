-- Fills dgm_performance_metrics: 12 monthly partitions (SET fill.months), the last of the current month (UTC), up to now. Size:
-- SET fill.samples; 1 % of them (at least 5,000) lie within the last 24 hours on top of the even spread. 20 services ('big' has
-- 22 %), 8 metric types. A month's table is filled without indexes and then attached: ATTACH builds every index of the
-- parent by sorting. Partitions of these months may exist if they are empty. No superuser needed. Independent of
-- archive.sql: the two may run at the same time on two connections.
SET client_min_messages = warning;
SET synchronous_commit = off;
SET maintenance_work_mem = '512MB';
SET jit = off;
DO $$
DECLARE
    total bigint := coalesce(nullif(current_setting('fill.samples', true), ''), '10000000')::bigint;
    entries bigint := coalesce(nullif(current_setting('fill.archive', true), ''), '1000000')::bigint;
    months int := coalesce(nullif(current_setting('fill.months', true), ''), '12')::int;
    of_last_day bigint := greatest(total / 100, least(total / 2, 5000));
    this_month date := date_trunc('month', now() AT TIME ZONE 'UTC')::date;
    span float8 := extract(epoch FROM now() - ((this_month - (months - 1) * interval '1 month')::timestamp AT TIME ZONE 'UTC'));
    first_day date;
    part text;
    lower_bound timestamptz;
    upper_bound timestamptz;
    filled boolean;
BEGIN
    PERFORM setseed(0.43);
    FOR month IN 0..months - 1 LOOP
        first_day := this_month - (months - 1 - month) * interval '1 month';
        part := 'dgm_performance_metrics_' || to_char(first_day, 'YYYY_MM');
        lower_bound := first_day::timestamp AT TIME ZONE 'UTC';
        upper_bound := (first_day + interval '1 month')::timestamp AT TIME ZONE 'UTC';
        IF to_regclass(part) IS NOT NULL THEN
            EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', part) INTO filled;
            IF filled THEN RAISE EXCEPTION '% is not empty', part; END IF;
            EXECUTE format('DROP TABLE %I', part);
        END IF;
        EXECUTE format('CREATE TABLE %I (LIKE dgm_performance_metrics INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
        EXECUTE format($insert$
            INSERT INTO %I (id, service_name, metric_type, metric_value, measurement_timestamp, archive_entry_id, created_at)
            SELECT gen_random_uuid(), ($8::text[])[1 + (r1 * 50)::int %% 50], ($9::text[])[1 + (r2 * 8)::int %% 8], 100 * r3, at,
                CASE WHEN r3 < 0.5 THEN '00000000-0000-7000-8000-' || lpad(floor(r3 * 2 * $7)::bigint::text, 12, '0') END, at
            FROM (
                SELECT random() AS r1, random() AS r2, random() AS r3, $1 + ($2 - $1) * ((i + random()) / $3) AS at
                FROM generate_series(0, $3 - 1) AS i
                UNION ALL
                SELECT random(), random(), random(), $4 + ($5 - $4) * ((i + random()) / $6) FROM generate_series(0, $6 - 1) AS i
            ) s$insert$, part)
        USING lower_bound, least(upper_bound, now()),
            ((total - of_last_day) * extract(epoch FROM least(upper_bound, now()) - lower_bound) / span)::bigint,
            greatest(lower_bound, now() - interval '1 day'), least(upper_bound, now()),
            greatest(0, of_last_day * extract(epoch FROM least(upper_bound, now())
                - greatest(lower_bound, now() - interval '1 day')) / 86400)::bigint,
            entries,
            (SELECT array_agg(CASE WHEN n < 11 THEN 'big' ELSE 'service-' || lpad(((n - 11) % 19)::text, 2, '0') END ORDER BY n)
             FROM generate_series(0, 49) AS n),
            ARRAY['accuracy', 'compliance', 'cost_usd', 'error_rate', 'latency_ms', 'memory_mb', 'throughput', 'tokens'];
        -- With this CHECK, ATTACH need not scan the rows for their bounds.
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT dgm_partition_bounds '
                       'CHECK (measurement_timestamp >= %L AND measurement_timestamp < %L)', part, lower_bound, upper_bound);
        EXECUTE format('ALTER TABLE dgm_performance_metrics ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                       part, lower_bound, upper_bound);
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT dgm_partition_bounds', part);
    END LOOP;
    -- As the service premakes.
    FOR month IN 1..3 LOOP
        PERFORM create_monthly_partition('dgm_performance_metrics', (this_month + month * interval '1 month')::date);
    END LOOP;
END $$;
