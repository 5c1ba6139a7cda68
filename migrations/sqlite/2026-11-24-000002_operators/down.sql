DROP TABLE audit_entries;
DROP TABLE token_revocations;
