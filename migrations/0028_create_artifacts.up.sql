-- Files that belong to entries: patches too large for a row, logs of evaluations. Their bytes lie in the artifact storage under
-- their SHA-256; here stands which there are, and whose they are.
CREATE TABLE dgm_artifacts (
    digest BYTEA PRIMARY KEY,
    size_bytes BIGINT NOT NULL,
    -- Since when no entry has it; the bytes are removed some time after.
    unreferenced_since TIMESTAMP WITH TIME ZONE DEFAULT now(),
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    CONSTRAINT chk_artifact_digest CHECK (octet_length(digest) = 32),
    CONSTRAINT chk_artifact_size CHECK (size_bytes >= 0)
);

CREATE INDEX idx_dgm_artifacts_unreferenced ON dgm_artifacts (unreferenced_since) WHERE unreferenced_since IS NOT NULL;

CREATE TABLE dgm_archive_artifacts (
    archive_entry_id VARCHAR(255) NOT NULL REFERENCES dgm_archive (archive_entry_id) ON DELETE CASCADE,
    name VARCHAR(255) NOT NULL,
    digest BYTEA NOT NULL REFERENCES dgm_artifacts (digest),
    media_type VARCHAR(255) NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(),
    created_by UUID REFERENCES users (id),
    PRIMARY KEY (archive_entry_id, name)
);

CREATE INDEX idx_dgm_archive_artifacts_digest ON dgm_archive_artifacts (digest);

CREATE FUNCTION dgm_follow_artifact() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'DELETE' THEN
        UPDATE dgm_artifacts SET unreferenced_since = NULL
        WHERE digest = NEW.digest AND unreferenced_since IS NOT NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        -- Of two that take the last references away at the same time, each would see the other's.
        PERFORM 1 FROM dgm_artifacts WHERE digest = OLD.digest FOR UPDATE;
        UPDATE dgm_artifacts SET unreferenced_since = now()
        WHERE digest = OLD.digest AND unreferenced_since IS NULL
            AND NOT EXISTS (SELECT FROM dgm_archive_artifacts r WHERE r.digest = OLD.digest);
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER trg_dgm_archive_artifacts_follow AFTER INSERT OR DELETE OR UPDATE OF digest ON dgm_archive_artifacts
FOR EACH ROW EXECUTE FUNCTION dgm_follow_artifact();
