DROP INDEX refresh_families_by_use;
CREATE INDEX refresh_families_of_user ON refresh_families (user_id, expires_at_ms);
ALTER TABLE refresh_families DROP COLUMN last_use;
DROP TABLE serving_clock;
CREATE TABLE token_revocations (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    revoked_at_ms BIGINT NOT NULL
);
CREATE INDEX token_revocations_by_time ON token_revocations (revoked_at_ms);
CREATE TABLE family_revocations (
    family_id TEXT NOT NULL PRIMARY KEY,
    revoked_at_ms BIGINT NOT NULL
);
CREATE INDEX family_revocations_by_time ON family_revocations (revoked_at_ms);
-- All that was issued until now.
INSERT INTO token_revocations (user_id, revoked_at_ms)
SELECT DISTINCT user_id, CAST(unixepoch('subsec') * 1000 AS INTEGER) FROM revocations WHERE user_id IS NOT NULL;
INSERT INTO family_revocations (family_id, revoked_at_ms)
SELECT family_id, CAST(unixepoch('subsec') * 1000 AS INTEGER) FROM revocations WHERE family_id IS NOT NULL;
DROP TABLE revocations;
ALTER TABLE users DROP COLUMN token_generation;
