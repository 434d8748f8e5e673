-- no-transaction
CREATE INDEX CONCURRENTLY idx_dgm_improvements_claim ON dgm_improvements (priority_rank, created_at, id)
WHERE status = 'queued';
