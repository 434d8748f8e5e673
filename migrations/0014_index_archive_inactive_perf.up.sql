-- no-transaction
-- The complement of idx_dgm_archive_composite_perf: the two together order a service by accuracy, whatever the status.
CREATE INDEX CONCURRENTLY idx_dgm_archive_inactive_perf
ON dgm_archive (service_name, accuracy_score DESC, created_at DESC, status)
WHERE status <> 'active';
