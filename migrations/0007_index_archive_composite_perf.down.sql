-- no-transaction
DROP INDEX CONCURRENTLY idx_dgm_archive_composite_perf;
