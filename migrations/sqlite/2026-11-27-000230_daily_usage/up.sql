-- Consumption of a user's turns on one day (UTC), for the daily budgets. Written only while there is a budget.
CREATE TABLE daily_usage (
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- Days since 1970-01-01.
    day BIGINT NOT NULL,
    tokens BIGINT NOT NULL,
    -- Trillionths of the currency.
    cost BIGINT NOT NULL,
    PRIMARY KEY (user_id, day)
) WITHOUT ROWID;
CREATE INDEX daily_usage_by_day ON daily_usage (day);
