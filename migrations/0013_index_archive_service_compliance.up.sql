-- no-transaction
-- Status last: it narrows within the index, where reading every row of a service with few failed entries would not do.
CREATE INDEX CONCURRENTLY idx_dgm_archive_service_compliance
ON dgm_archive (service_name, constitutional_compliance_score DESC, created_at DESC, status);
