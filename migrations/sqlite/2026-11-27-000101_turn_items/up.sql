-- The entries of an ended turn that are not text of the answer, as JSON, so that the indices of entries stay the same when the
-- turn is read from here; see src/turn/stored_items.rs. NULL: a turn of an earlier version.
ALTER TABLE turns ADD COLUMN items TEXT;
