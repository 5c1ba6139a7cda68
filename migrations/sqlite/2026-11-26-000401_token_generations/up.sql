-- Counts how often the tokens of an account were revoked. A token carries the number at its issue and is good only while that
-- is the current one. No clock takes part.
ALTER TABLE users ADD COLUMN token_generation BIGINT NOT NULL DEFAULT 0;

-- The access tokens that are revoked before they expire. A row is needed only as long as such a token can live, measured by
-- serving_clock.
CREATE TABLE revocations (
    -- Never used again: other processes find out by it what is new.
    number INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    -- Tokens of this user, of every earlier generation.
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    generation BIGINT,
    -- Tokens that came from one sign-in. Nothing refers to the family: its row is gone.
    family_id TEXT UNIQUE,
    -- Tokens of this user without a generation, issued up to this moment: those of version 0.1.0.
    untagged_until_ms BIGINT,
    -- When a server first saw the row, by serving_clock.
    seen_at_running_ms BIGINT
);
CREATE INDEX revocations_of_user ON revocations (user_id);
INSERT INTO revocations (user_id, untagged_until_ms) SELECT user_id, revoked_at_ms FROM token_revocations;
INSERT INTO revocations (family_id) SELECT family_id FROM family_revocations;
DROP TABLE token_revocations;
DROP TABLE family_revocations;

-- Time that passes only while a server runs; see src/store/serving_clock.rs.
CREATE TABLE serving_clock (
    id INTEGER PRIMARY KEY CHECK (id = 1) NOT NULL,
    running_ms BIGINT NOT NULL,
    period_began_ms BIGINT NOT NULL,
    lowest_offset_ms BIGINT,
    previous_offset_ms BIGINT
);
-- The newest time in the store is a date that is confirmed, whatever the clock says now.
INSERT INTO serving_clock (id, running_ms, period_began_ms, previous_offset_ms)
SELECT 1, 0, 0, COALESCE(MAX(at_ms), CAST(unixepoch('subsec') * 1000 AS INTEGER)) FROM (
    SELECT MAX(created_at_ms) AS at_ms FROM users
    UNION ALL SELECT MAX(updated_at_ms) FROM conversations
    UNION ALL SELECT MAX(at_ms) FROM audit_entries
);

-- The order in which the sign-ins of a user were used last; expires_at_ms depends on the clock.
ALTER TABLE refresh_families ADD COLUMN last_use BIGINT NOT NULL DEFAULT 0;
UPDATE refresh_families SET last_use = (
    SELECT COUNT(*) FROM refresh_families AS earlier
    WHERE earlier.user_id = refresh_families.user_id AND earlier.expires_at_ms < refresh_families.expires_at_ms
);
DROP INDEX refresh_families_of_user;
CREATE INDEX refresh_families_by_use ON refresh_families (user_id, last_use);
