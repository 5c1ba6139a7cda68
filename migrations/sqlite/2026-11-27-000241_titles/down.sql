ALTER TABLE conversations DROP COLUMN titled_by;
