-- no-transaction
DROP INDEX CONCURRENTLY idx_dgm_archive_service_created;
