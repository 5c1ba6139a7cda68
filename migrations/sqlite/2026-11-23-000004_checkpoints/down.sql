DROP TABLE store_checks;
DROP INDEX turns_by_age;
ALTER TABLE turns DROP COLUMN metadata;
DROP TABLE turn_checkpoints;
