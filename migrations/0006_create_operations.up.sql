CREATE TABLE dgm_api_tokens (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name varchar(100) NOT NULL UNIQUE,
    token_hash bytea NOT NULL UNIQUE,
    role varchar(20) NOT NULL,
    user_id uuid REFERENCES users (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    CONSTRAINT chk_token_role CHECK (role IN ('reader', 'worker', 'operator', 'admin')),
    CONSTRAINT chk_token_hash CHECK (octet_length(token_hash) = 32)
);
COMMENT ON COLUMN dgm_api_tokens.token_hash IS 'SHA-256 of the token; the token itself is never stored';

CREATE TABLE dgm_job_runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_name varchar(100) NOT NULL,
    instance varchar(255) NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    outcome varchar(20),
    detail text,
    CONSTRAINT chk_job_outcome CHECK (outcome IN ('success', 'failure', 'timeout', 'cancelled'))
);
CREATE INDEX idx_dgm_job_runs_name_started ON dgm_job_runs (job_name, started_at DESC);
