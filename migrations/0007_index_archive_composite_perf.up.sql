-- no-transaction
CREATE INDEX CONCURRENTLY idx_dgm_archive_composite_perf
ON dgm_archive (service_name, accuracy_score DESC, created_at DESC)
WHERE status = 'active';
