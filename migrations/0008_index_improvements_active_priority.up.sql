-- no-transaction
CREATE INDEX CONCURRENTLY idx_dgm_improvements_active_priority
ON dgm_improvements (priority, created_at DESC)
WHERE status IN ('queued', 'running');
