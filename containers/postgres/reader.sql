-- The role by which Grafana reads the archive (dashboards/README.md). After every start, since it needs the tables.
\getenv password DGM_READER_PASSWORD
SELECT 'CREATE ROLE dgm_reader LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'dgm_reader') \gexec
ALTER ROLE dgm_reader PASSWORD :'password';
ALTER ROLE dgm_reader SET statement_timeout = '10s';
ALTER ROLE dgm_reader SET default_transaction_read_only = on;
GRANT CONNECT ON DATABASE dgm TO dgm_reader;
GRANT SELECT ON dgm_archive, dgm_improvements TO dgm_reader;
