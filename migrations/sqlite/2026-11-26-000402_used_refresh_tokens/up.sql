-- The refresh tokens that were used in the last seconds, each with the issue that it was exchanged for: a client that shares a
-- sign-in with another one, or that did not get the answer, brings the same token again and gets the same tokens. The tokens
-- themselves are never stored; with the secret that signs them they can be made again.
CREATE TABLE used_refresh_tokens (
    jti TEXT NOT NULL PRIMARY KEY,
    family_id TEXT NOT NULL REFERENCES refresh_families (id) ON DELETE CASCADE,
    next_jti TEXT NOT NULL,
    issued_at_ms BIGINT NOT NULL,
    -- When, by serving_clock.
    running_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX used_refresh_tokens_of_family ON used_refresh_tokens (family_id);
