-- no-transaction
DROP INDEX CONCURRENTLY idx_dgm_job_runs_occurrence;
