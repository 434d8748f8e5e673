-- no-transaction
CREATE INDEX CONCURRENTLY idx_dgm_archive_compliance_new
ON dgm_archive (constitutional_compliance_score DESC, created_at DESC);
