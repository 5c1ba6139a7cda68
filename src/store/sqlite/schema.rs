//! The tables, as the migrations in `migrations/sqlite/` leave them.
