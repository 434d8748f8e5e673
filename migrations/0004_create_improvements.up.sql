CREATE TABLE dgm_improvements (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    improvement_id varchar(255) NOT NULL UNIQUE,
    service_name varchar(100) NOT NULL,
    parent_entry_id varchar(255) REFERENCES dgm_archive (archive_entry_id),
    problem_statement text NOT NULL,
    priority varchar(20) NOT NULL DEFAULT 'medium',
    -- Priority as text does not sort; the claim order is by this ordinal.
    priority_rank smallint NOT NULL GENERATED ALWAYS AS (
        CASE priority WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END
    ) STORED,
    status varchar(50) NOT NULL DEFAULT 'queued',
    progress integer NOT NULL DEFAULT 0,
    progress_message text,
    max_improvement_time integer NOT NULL DEFAULT 1800,
    constitutional_constraints jsonb,
    performance_metrics jsonb NOT NULL DEFAULT '{}',
    results jsonb,
    archive_entry_id varchar(255) REFERENCES dgm_archive (archive_entry_id),
    error_message text,
    worker varchar(255),
    lease_token uuid,
    lease_expires_at timestamptz,
    heartbeat_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 3,
    available_at timestamptz NOT NULL DEFAULT now(),
    create_digest bytea,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid REFERENCES users (id),
    CONSTRAINT chk_progress CHECK (progress >= 0 AND progress <= 100),
    CONSTRAINT chk_priority CHECK (priority IN ('low', 'medium', 'high', 'critical')),
    CONSTRAINT chk_status CHECK (status IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    CONSTRAINT chk_max_improvement_time CHECK (max_improvement_time > 0),
    CONSTRAINT chk_attempts CHECK (attempts >= 0 AND max_attempts > 0),
    -- A running improvement always has a holder, so that every rescue can guard on it.
    CONSTRAINT chk_running_is_leased CHECK (
        status <> 'running' OR (lease_token IS NOT NULL AND lease_expires_at IS NOT NULL)
    )
) WITH (
    fillfactor = 80,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
COMMENT ON TABLE dgm_improvements IS 'The queue of improvements that workers claim under a lease';

CREATE INDEX idx_dgm_improvements_status_priority ON dgm_improvements (status, priority);
CREATE INDEX idx_dgm_improvements_service_created ON dgm_improvements (service_name, created_at DESC);
CREATE INDEX idx_dgm_improvements_active ON dgm_improvements (status)
WHERE status IN ('queued', 'running');
-- Exactly the claim order, so that a claim stays fast under a million finished rows.
CREATE INDEX idx_dgm_improvements_claim ON dgm_improvements (priority_rank, created_at, id)
WHERE status = 'queued';
