-- At the first start of PostgreSQL: the service's role and database, and what it asks of the server (docs/OPERATIONS.md, What
-- PostgreSQL and Redis tell). The role owns its database and nothing else.
\getenv password DGM_DATABASE_PASSWORD
CREATE ROLE dgm LOGIN PASSWORD :'password';
GRANT pg_monitor TO dgm;
CREATE DATABASE dgm OWNER dgm;
REVOKE CONNECT ON DATABASE dgm FROM PUBLIC;
\connect dgm
CREATE EXTENSION pg_stat_statements;
