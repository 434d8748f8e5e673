-- no-transaction
DROP INDEX CONCURRENTLY idx_dgm_archive_compliance_new;
