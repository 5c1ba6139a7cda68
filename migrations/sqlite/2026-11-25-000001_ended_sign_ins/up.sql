-- Sign-ins that ended before their access tokens did, which carry the id of their refresh family. A row is needed only as long
-- as such a token could live. Nothing refers to the family: its row is gone.
CREATE TABLE family_revocations (
    family_id TEXT NOT NULL PRIMARY KEY,
    revoked_at_ms BIGINT NOT NULL
);
CREATE INDEX family_revocations_by_time ON family_revocations (revoked_at_ms);
