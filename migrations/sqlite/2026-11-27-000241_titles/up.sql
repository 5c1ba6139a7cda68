-- The origin of the title: question (its first words), task (a model), user.
ALTER TABLE conversations ADD COLUMN titled_by TEXT NOT NULL DEFAULT 'question';
