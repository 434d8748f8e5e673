-- What changed in the archive: the source of truth for caches and for parent selection. Readers ask for what committed
-- since their last snapshot, so no change is missed and none depends on a message; NOTIFY (without payload) only makes
-- it quick. Archive changes are rare enough for NOTIFY's global lock; inserts do without it.
CREATE TABLE dgm_archive_changes (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id xid8 NOT NULL DEFAULT pg_current_xact_id(),
    service_name varchar(100) NOT NULL,
    archive_entry_id varchar(255) NOT NULL,
    version bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE dgm_archive_changes IS 'What changed in the archive, by transaction; kept for a day';
COMMENT ON COLUMN dgm_archive_changes.version IS 'The least version that a copy must have to be current';
-- Updates and deletions only: a new entry makes no copy old.
CREATE INDEX idx_dgm_archive_changes_outdating ON dgm_archive_changes (transaction_id) WHERE version > 1;
CREATE INDEX idx_dgm_archive_changes_service ON dgm_archive_changes (service_name, transaction_id);

-- One row. Copies made under another epoch are worth nothing: the table was truncated, or the schema made anew.
CREATE TABLE dgm_archive_feed (
    only_row boolean PRIMARY KEY DEFAULT true,
    epoch uuid NOT NULL DEFAULT gen_random_uuid(),
    pruned_before xid8 NOT NULL DEFAULT '0',
    CONSTRAINT chk_only_row CHECK (only_row)
);
COMMENT ON COLUMN dgm_archive_feed.pruned_before IS 'Changes of older transactions are no longer kept';
INSERT INTO dgm_archive_feed DEFAULT VALUES;

CREATE FUNCTION dgm_log_archive_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dgm_archive_changes (service_name, archive_entry_id, version)
    SELECT service_name, archive_entry_id, version FROM made;
    RETURN NULL;
END;
$$;
CREATE TRIGGER trg_dgm_archive_log_insert AFTER INSERT ON dgm_archive
REFERENCING NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION dgm_log_archive_insert();

CREATE FUNCTION dgm_log_archive_update() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- An entry that was renamed or moved to another service leaves a copy behind under its old name.
    INSERT INTO dgm_archive_changes (service_name, archive_entry_id, version)
    SELECT service_name, archive_entry_id, version FROM made
    UNION ALL
    SELECT service_name, archive_entry_id, version + 1 FROM (
        SELECT service_name, archive_entry_id, version FROM gone
        WHERE (service_name, archive_entry_id) NOT IN (SELECT service_name, archive_entry_id FROM made)
    ) renamed;
    PERFORM pg_notify('dgm_archive', '') WHERE FOUND;
    RETURN NULL;
END;
$$;
CREATE TRIGGER trg_dgm_archive_log_update AFTER UPDATE ON dgm_archive
REFERENCING OLD TABLE AS gone NEW TABLE AS made FOR EACH STATEMENT EXECUTE FUNCTION dgm_log_archive_update();

CREATE FUNCTION dgm_log_archive_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dgm_archive_changes (service_name, archive_entry_id, version)
    SELECT service_name, archive_entry_id, version + 1 FROM gone;
    PERFORM pg_notify('dgm_archive', '') WHERE FOUND;
    RETURN NULL;
END;
$$;
CREATE TRIGGER trg_dgm_archive_log_delete AFTER DELETE ON dgm_archive
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION dgm_log_archive_delete();

CREATE FUNCTION dgm_log_archive_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dgm_archive_feed SET epoch = gen_random_uuid();
    PERFORM pg_notify('dgm_archive', '');
    RETURN NULL;
END;
$$;
CREATE TRIGGER trg_dgm_archive_log_truncate AFTER TRUNCATE ON dgm_archive
FOR EACH STATEMENT EXECUTE FUNCTION dgm_log_archive_truncate();

-- Inspirations are part of an entry: changing them by hand changes the entry. Those that come with a new entry do not.
CREATE FUNCTION dgm_touch_inspired() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dgm_archive SET updated_at = now()
    WHERE archive_entry_id IN (SELECT archive_entry_id FROM touched)
      AND xmin::text::bigint <> pg_current_xact_id()::text::bigint % 4294967296;
    RETURN NULL;
END;
$$;
CREATE TRIGGER trg_dgm_inspirations_insert AFTER INSERT ON dgm_archive_inspirations
REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION dgm_touch_inspired();
CREATE TRIGGER trg_dgm_inspirations_update AFTER UPDATE ON dgm_archive_inspirations
REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION dgm_touch_inspired();
CREATE TRIGGER trg_dgm_inspirations_delete AFTER DELETE ON dgm_archive_inspirations
REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION dgm_touch_inspired();

-- How often entries are read; apart from the entries, whose versions it must not raise. No index on the count, so that
-- the counts of a flush are HOT updates; it is read in order of the count once, when a process starts.
CREATE TABLE dgm_archive_access (
    archive_entry_id varchar(255) PRIMARY KEY REFERENCES dgm_archive (archive_entry_id) ON DELETE CASCADE,
    access_count bigint NOT NULL DEFAULT 0,
    last_accessed_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
