-- What happened to each improvement, in order: the source of the event stream. A trigger writes it, so that no path
-- (rescue, hand-made SQL) is forgotten. Readers poll by event_id; NOTIFY would serialise every commit of the queue.
CREATE TABLE dgm_improvement_events (
    event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    improvement_id varchar(255) NOT NULL REFERENCES dgm_improvements (improvement_id) ON DELETE CASCADE,
    event varchar(20) NOT NULL,
    data jsonb NOT NULL,
    occurred_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT chk_event CHECK (event IN ('queued', 'running', 'progress', 'completed', 'failed', 'cancelled'))
);
CREATE INDEX idx_dgm_improvement_events_of ON dgm_improvement_events (improvement_id, event_id);
COMMENT ON TABLE dgm_improvement_events IS 'What happened to each improvement; written by trigger';

CREATE FUNCTION dgm_keep_improvement_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dgm_improvement_events (improvement_id, event, data)
    VALUES (
        NEW.improvement_id,
        CASE WHEN TG_OP = 'UPDATE' AND OLD.status = NEW.status AND OLD.attempts = NEW.attempts
             THEN 'progress' ELSE NEW.status END,
        jsonb_build_object(
            'status', NEW.status, 'progress', NEW.progress, 'progress_message', NEW.progress_message,
            'worker', NEW.worker, 'attempts', NEW.attempts, 'error_message', NEW.error_message,
            'archive_entry_id', NEW.archive_entry_id
        )
    );
    RETURN NULL;
END;
$$;
CREATE TRIGGER trg_dgm_improvements_created AFTER INSERT ON dgm_improvements
FOR EACH ROW EXECUTE FUNCTION dgm_keep_improvement_event();
-- Not at heartbeats: they change neither.
CREATE TRIGGER trg_dgm_improvements_changed AFTER UPDATE ON dgm_improvements FOR EACH ROW
WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.attempts IS DISTINCT FROM NEW.attempts
      OR OLD.progress IS DISTINCT FROM NEW.progress OR OLD.progress_message IS DISTINCT FROM NEW.progress_message)
EXECUTE FUNCTION dgm_keep_improvement_event();
