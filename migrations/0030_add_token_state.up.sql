-- Replicas hold the live tokens in memory. Every change of a token gives the tokens another state, which the question that
-- replicas ask the change feed anyway returns; NOTIFY only makes it quick. A random state, not a count: a database that was
-- restored to a moment never has a state that stands for other tokens. In the row that exists, so no role needs another grant.
ALTER TABLE dgm_archive_feed ADD COLUMN token_state uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
COMMENT ON COLUMN dgm_archive_feed.token_state IS 'Another one after every change of dgm_api_tokens';

CREATE FUNCTION dgm_log_token_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dgm_archive_feed SET token_state = gen_random_uuid();
    PERFORM pg_notify('dgm_archive', '');
    RETURN NULL;
END;
$$;
CREATE TRIGGER trg_dgm_api_tokens_log AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON dgm_api_tokens
FOR EACH STATEMENT EXECUTE FUNCTION dgm_log_token_change();
