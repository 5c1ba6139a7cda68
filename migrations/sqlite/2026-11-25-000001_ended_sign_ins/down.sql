DROP TABLE family_revocations;
