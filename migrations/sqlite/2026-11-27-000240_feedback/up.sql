-- What users think of answers.
CREATE TABLE feedback (
    message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- up, down
    rating TEXT NOT NULL,
    -- JSON list of texts
    reasons TEXT NOT NULL,
    comment TEXT,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (message_id, user_id)
);
CREATE INDEX feedback_by_user ON feedback (user_id);
