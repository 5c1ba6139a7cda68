//! Those who want in, want what is others', or want to harm.
