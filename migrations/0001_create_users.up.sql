-- A local mirror of the auth service's identities, so that created_by can be a real foreign key.
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    subject varchar(255) NOT NULL UNIQUE,
    display_name varchar(255),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE users IS 'Local mirror of the auth service''s identities';
COMMENT ON COLUMN users.subject IS 'The identity''s stable name at the auth service (RFC 7519 "sub")';
