-- Processes ask which improvements of a service have events that their last snapshot did not see. The order of event_id is not
-- the order of commit, except within one improvement, hence the transaction. Both columns stay null in rows that exist: nobody asks
-- for those. The default is set apart from the column, since with it every existing row would get the transaction of this step.
ALTER TABLE dgm_improvement_events ADD COLUMN service_name varchar(100);
ALTER TABLE dgm_improvement_events ADD COLUMN transaction_id xid8;
ALTER TABLE dgm_improvement_events ALTER COLUMN transaction_id SET DEFAULT pg_current_xact_id();

CREATE OR REPLACE FUNCTION dgm_keep_improvement_event() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dgm_improvement_events (improvement_id, service_name, event, data)
    VALUES (
        NEW.improvement_id, NEW.service_name,
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
