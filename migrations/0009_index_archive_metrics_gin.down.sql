-- no-transaction
DROP INDEX CONCURRENTLY idx_dgm_archive_metrics_gin;
