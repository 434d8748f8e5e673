-- no-transaction
-- The list's usual order within a service.
CREATE INDEX CONCURRENTLY idx_dgm_archive_service_created
ON dgm_archive (service_name, created_at DESC);
