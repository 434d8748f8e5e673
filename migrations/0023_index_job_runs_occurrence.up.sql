-- no-transaction
CREATE UNIQUE INDEX CONCURRENTLY idx_dgm_job_runs_occurrence ON dgm_job_runs (job_name, scheduled_for)
WHERE outcome IS DISTINCT FROM 'lost';
