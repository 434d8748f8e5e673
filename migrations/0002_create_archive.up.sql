CREATE TABLE dgm_archive (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    archive_entry_id varchar(255) NOT NULL UNIQUE,
    parent_entry_id varchar(255) REFERENCES dgm_archive (archive_entry_id),
    generation_number integer NOT NULL DEFAULT 0,
    service_name varchar(100) NOT NULL,
    problem_statement text NOT NULL,
    solution_patch text,
    performance_metrics jsonb NOT NULL,
    accuracy_score numeric(5, 4) NOT NULL,
    constitutional_compliance_score numeric(5, 4) NOT NULL,
    evaluation_results jsonb,
    status varchar(50) NOT NULL DEFAULT 'active',
    version bigint NOT NULL DEFAULT 1,
    create_digest bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    created_by uuid REFERENCES users (id),
    CONSTRAINT chk_accuracy_score CHECK (accuracy_score >= 0 AND accuracy_score <= 1),
    CONSTRAINT chk_compliance_score CHECK (
        constitutional_compliance_score >= 0 AND constitutional_compliance_score <= 1
    ),
    CONSTRAINT chk_generation_number CHECK (generation_number >= 0),
    CONSTRAINT chk_archive_status CHECK (status IN ('active', 'failed', 'archived')),
    CONSTRAINT chk_not_own_parent CHECK (parent_entry_id <> archive_entry_id)
);
COMMENT ON TABLE dgm_archive IS 'Agent variants and their lineage';
COMMENT ON COLUMN dgm_archive.version IS 'Raised by trigger at each update; the source of the ETag';
COMMENT ON COLUMN dgm_archive.create_digest IS 'SHA-256 of the create request: tells a retry (same) from a conflict (other)';

CREATE FUNCTION dgm_touch_archive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version + 1;
    NEW.updated_at := now();
    RETURN NEW;
END;
$$;
CREATE TRIGGER trg_dgm_archive_touch BEFORE UPDATE ON dgm_archive
FOR EACH ROW EXECUTE FUNCTION dgm_touch_archive();

CREATE INDEX idx_dgm_archive_service_generation ON dgm_archive (service_name, generation_number);
CREATE INDEX idx_dgm_archive_score_desc ON dgm_archive (accuracy_score DESC);
CREATE INDEX idx_dgm_archive_compliance ON dgm_archive (constitutional_compliance_score DESC);
CREATE INDEX idx_dgm_archive_created_desc ON dgm_archive (created_at DESC);
CREATE INDEX idx_dgm_archive_parent ON dgm_archive (parent_entry_id);
