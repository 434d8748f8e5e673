-- no-transaction
DROP INDEX CONCURRENTLY idx_dgm_archive_inactive_perf;
