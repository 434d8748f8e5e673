DROP TRIGGER trg_dgm_api_tokens_log ON dgm_api_tokens;
DROP FUNCTION dgm_log_token_change();
ALTER TABLE dgm_archive_feed DROP COLUMN token_state;
