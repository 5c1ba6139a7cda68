-- Access tokens are not stored; a user's are good no more when they were issued up to this moment. A row is needed only as
-- long as such a token could live.
CREATE TABLE token_revocations (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    revoked_at_ms BIGINT NOT NULL
);
CREATE INDEX token_revocations_by_time ON token_revocations (revoked_at_ms);

-- What operators did. An entry stands alone: it outlives the account, so that nothing here refers to one.
CREATE TABLE audit_entries (
    id TEXT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    operator_id TEXT NOT NULL,
    operator_email TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT,
    -- As JSON.
    detail TEXT NOT NULL,
    -- begun, done, or the code of an error
    outcome TEXT NOT NULL
);
