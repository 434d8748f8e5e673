-- Further parents and inspirations of a child (a child has one parent_entry_id, and any number of these).
CREATE TABLE dgm_archive_inspirations (
    archive_entry_id varchar(255) NOT NULL REFERENCES dgm_archive (archive_entry_id),
    inspiration_entry_id varchar(255) NOT NULL REFERENCES dgm_archive (archive_entry_id),
    kind varchar(50) NOT NULL DEFAULT 'inspiration',
    PRIMARY KEY (archive_entry_id, inspiration_entry_id, kind),
    CONSTRAINT chk_inspiration_kind CHECK (kind IN ('parent', 'inspiration', 'archive', 'top_k')),
    CONSTRAINT chk_not_own_inspiration CHECK (archive_entry_id <> inspiration_entry_id)
);
CREATE INDEX idx_dgm_archive_inspirations_of ON dgm_archive_inspirations (inspiration_entry_id);

-- A score that is revised later keeps its history, changes made by hand included: hence a trigger.
CREATE TABLE dgm_archive_score_history (
    archive_entry_id varchar(255) NOT NULL REFERENCES dgm_archive (archive_entry_id),
    version bigint NOT NULL,
    accuracy_score numeric(5, 4) NOT NULL,
    constitutional_compliance_score numeric(5, 4) NOT NULL,
    replaced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (archive_entry_id, version)
);
COMMENT ON TABLE dgm_archive_score_history IS 'The scores that an entry had before each revision';

CREATE FUNCTION dgm_keep_score_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dgm_archive_score_history
        (archive_entry_id, version, accuracy_score, constitutional_compliance_score)
    VALUES (OLD.archive_entry_id, OLD.version, OLD.accuracy_score, OLD.constitutional_compliance_score);
    RETURN NULL;
END;
$$;
CREATE TRIGGER trg_dgm_archive_score_history
AFTER UPDATE ON dgm_archive FOR EACH ROW
WHEN (OLD.accuracy_score IS DISTINCT FROM NEW.accuracy_score
      OR OLD.constitutional_compliance_score IS DISTINCT FROM NEW.constitutional_compliance_score)
EXECUTE FUNCTION dgm_keep_score_history();
