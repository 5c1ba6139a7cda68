CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    -- A PHC string.
    password_hash TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL
);

-- The refresh tokens that came, one out of the other, from one sign-in. Only the newest is good; it is known by its jti,
-- and the token itself is never stored.
CREATE TABLE refresh_families (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    current_jti TEXT NOT NULL,
    expires_at_ms BIGINT NOT NULL
);

CREATE INDEX refresh_families_of_user ON refresh_families (user_id, expires_at_ms);
CREATE INDEX refresh_families_by_expiry ON refresh_families (expires_at_ms);
