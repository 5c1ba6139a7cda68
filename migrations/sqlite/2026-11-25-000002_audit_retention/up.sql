-- To find the entries that are too old.
CREATE INDEX audit_entries_by_time ON audit_entries (at_ms);
