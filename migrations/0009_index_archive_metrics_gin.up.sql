-- no-transaction
CREATE INDEX CONCURRENTLY idx_dgm_archive_metrics_gin
ON dgm_archive USING gin (performance_metrics);
