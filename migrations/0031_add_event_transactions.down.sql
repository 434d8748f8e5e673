CREATE OR REPLACE FUNCTION dgm_keep_improvement_event() RETURNS trigger LANGUAGE plpgsql AS $$
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
ALTER TABLE dgm_improvement_events DROP COLUMN transaction_id;
ALTER TABLE dgm_improvement_events DROP COLUMN service_name;
