-- Makes, or takes back, the partition of the month that start_date lies in; true when it was not there. CREATE LIKE + ATTACH
-- takes SHARE UPDATE EXCLUSIVE on the parent, where CREATE .. PARTITION OF would stop every reader and writer.
CREATE OR REPLACE FUNCTION create_monthly_partition(table_name text, start_date date) RETURNS boolean
LANGUAGE plpgsql
-- Whoever waits for a lock of the parent holds up those behind him.
SET lock_timeout = '2s' AS $$
DECLARE
    first_day date := date_trunc('month', start_date)::date;
    partition_name text := table_name || '_' || to_char(first_day, 'YYYY_MM');
    lower_bound timestamptz := first_day::timestamp AT TIME ZONE 'UTC';
    upper_bound timestamptz := (first_day + interval '1 month')::timestamp AT TIME ZONE 'UTC';
BEGIN
    -- Two callers that make the same month: the second waits here, then finds it made.
    PERFORM pg_advisory_xact_lock(hashtextextended('dgm.partition.' || partition_name, 0));
    IF EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(quote_ident(partition_name))
               AND inhparent = table_name::regclass) THEN
        RETURN false;
    END IF;
    -- One that retention detached and did not drop yet is taken back, with what it holds.
    IF to_regclass(quote_ident(partition_name)) IS NULL THEN
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
                       partition_name, table_name);
    END IF;
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT IF EXISTS dgm_partition_bounds', partition_name);
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT dgm_partition_bounds '
                   'CHECK (measurement_timestamp >= %L AND measurement_timestamp < %L)',
                   partition_name, lower_bound, upper_bound);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                   table_name, partition_name, lower_bound, upper_bound);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT dgm_partition_bounds', partition_name);
    RETURN true;
END;
$$;
